"""`python -m tests.policies.schemas` writes policies/schemas/: JSON Schema (2020-12) of the data that policies are loaded from.

They are made from the types by which the loader reads, so that an editor underlines what loading would refuse; what types cannot say
(known items and fields, rows that stand twice, bounds) the loader checks besides and names the place.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from consent.decisions import masks, matrix
from consent.decisions.codes import Code

DIRECTORY = Path(__file__).parents[2] / "policies" / "schemas"
TYPES: dict[str, Any] = {
    "matrix": matrix.Matrix,
    "purposes": dict[str, matrix.Phases],
    "settings": matrix.Settings,
    "masks": masks.Masks,
    "codes": dict[str, Code],
}


def document(name: str) -> str:
    """The schema of policies/data/`name`.json."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"policies/data/{name}.json",
        **msgspec.json.schema(TYPES[name]),
    }
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for name in TYPES:
        (DIRECTORY / f"{name}.json").write_text(document(name), encoding="utf-8")

"""The schemas of the policies' data are those of the types that read it, and every data file has one."""

import json

import pytest

from tests.policies import schemas


@pytest.mark.parametrize("name", schemas.TYPES)
def test_a_schema_is_not_stale(name: str) -> None:
    """After a change of the types: python -m tests.policies.schemas."""
    assert (schemas.DIRECTORY / f"{name}.json").read_text(encoding="utf-8") == schemas.document(name)


def test_every_data_file_has_a_schema() -> None:
    """And nothing may stand in one that the schema does not name: objects are closed, but for maps by code."""
    files = {path.stem for path in (schemas.DIRECTORY.parent / "data").glob("*.json")}
    assert files == schemas.TYPES.keys()
    for name in files:
        kinds = json.loads(schemas.document(name))["$defs"]
        assert kinds
        assert all(kind.get("additionalProperties") is False for kind in kinds.values()), name

"""`python -m tests.policies.cases_data FILE`: the hand-written corpus as `data.cases` for `opa test`, beside the bundle it tests."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.policies import corpus
from tests.policies.wire import check_input, request_input

Json = dict[str, Any]


def document() -> Json:
    """Each case with its name, the engine's input and the whole answer but for the revision."""
    return {
        "checks": [
            {"name": name, "input": check_input(case), "answer": {"key": "k", **answer}} for name, case, answer in corpus.decisions()
        ],
        "requests": [
            {"name": name, "input": request_input(case), "answer": {"key": "k", **answer}} for name, case, answer in corpus.requests()
        ],
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps({"cases": document()}), encoding="utf-8")

"""docs/fapi.md names files and tests that exist, so that its rows can be believed."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/fapi.md").read_text()
ROWS = [line.split("|")[1:-1] for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| requirement")]


def test_every_row_names_tests_that_exist() -> None:
    """A row without a test, or with one that is gone, is no proof."""
    assert len(ROWS) > 30
    for requirement, _, tests in ROWS:
        named = re.findall(r"`([^`]+)::([^`]+)`", tests)
        assert named, requirement
        for file, test in named:
            assert re.search(rf"def {test}\(", (ROOT / "tests" / file).read_text()), f"{file}::{test}"


def test_every_row_names_a_place_that_exists() -> None:
    """Sources below consent/, or a folder of the tree."""
    for requirement, place, _ in ROWS:
        path = place.strip().strip("`")
        assert (ROOT / "consent" / path).exists() or (ROOT / path).exists(), requirement

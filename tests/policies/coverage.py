"""`python -m tests.policies.coverage`: every line of the policies is used by the hand-written corpus or by the Rego tests, or it fails.

OPA evaluates the whole corpus in one run and counts the lines; `opa test` does the same for the tests beside the policies. A line that
neither used is named. Answers are not compared here but in test_corpus.py, whole.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from consent.catalogue.load import load
from consent.decisions.bundle import default_directory, write_bundle
from tests.policies.conftest import tool
from tests.policies.mutation import Batch, Exam

Json = Any
Lines = dict[str, set[int]]


def uncovered(opa: str, directory: Path) -> Lines:
    """By module, the lines that neither the corpus nor the tests used.

    Raises:
        ValueError: nothing was covered at all, so that the report means nothing.
    """
    bundle = write_bundle(load(), directory / "bundle", default_directory())
    exam = Exam(bundle, generated_too=False)
    reports = [_corpus(opa, directory, exam.batches), _tests(opa, directory)]
    used = [_lines(report, "covered", bundle.modules) for report in reports]
    missed = [_lines(report, "not_covered", bundle.modules) for report in reports]
    found = {name: set[int]() for name in bundle.modules}
    for name in found:
        known = used[0].get(name, set()) | used[1].get(name, set())
        found[name] = (missed[0].get(name, set()) | missed[1].get(name, set())) - known
        if not known:
            raise ValueError(f"{name}: nothing of it was used")
    return {name: lines for name, lines in found.items() if lines}


def _corpus(opa: str, directory: Path, batches: list[Batch]) -> Json:
    """The report of one evaluation of all batches."""
    documents: dict[str, list[Json]] = {}
    for batch in batches:
        documents.setdefault(batch.path.removeprefix("/v1/data/").replace("/", "."), []).append(json.loads(batch.body)["input"])
    (directory / "cases.json").write_text(json.dumps({"cases": documents}), encoding="utf-8")
    query = "; ".join(f'a{n} := [x | i := data.cases["{path}"][_]; x := data.{path} with input as i]' for n, path in enumerate(documents))
    command = [opa, "eval", "--coverage", "--format", "json", "--data", directory / "bundle", "--data", directory / "cases.json", query]
    done = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
    if "result" not in done:
        raise ValueError("the corpus has no answers")
    return done["coverage"]


def _tests(opa: str, directory: Path) -> Json:
    tests = sorted(default_directory().rglob("*_test.rego"))
    command = [opa, "test", "--coverage", "--format", "json", directory / "bundle", *tests]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)


def _lines(report: Json, kind: str, modules: dict[str, str]) -> Lines:
    found: Lines = {}
    for path, file in report["files"].items():
        name = next((name for name in modules if path.endswith(f"/bundle/{name}")), None)
        if name is not None:
            rows = {row for part in file.get(kind, ()) for row in range(part["start"]["row"], part["end"]["row"] + 1)}
            found[name] = found.get(name, set()) | rows  # OPA names a module twice, with and without the first slash
    return found


def main() -> int:
    """0 if every line is used."""
    with tempfile.TemporaryDirectory() as directory:
        found = uncovered(tool("opa"), Path(directory))
    for name, lines in sorted(found.items()):
        print(f"policies/{name}: not used by corpus or tests: lines {', '.join(map(str, sorted(lines)))}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

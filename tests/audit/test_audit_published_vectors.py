"""The vectors of docs/spec/ledger.md: made again byte for byte, and judged alike by the verifier and by the second reader."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from consent_audit import cli
from consent_audit.note import Verifier, open_checkpoint
from consent_audit.policy import Policy
from consent_audit.report import Verdict
from consent_audit.sources import open_source
from consent_audit.verify import Options, verify

FOLDER = Path(__file__).parents[2] / "audit/vectors"
INDEX = json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))
VECTORS: list[dict[str, Any]] = INDEX["vectors"]
ARCHIVES = [vector for vector in VECTORS if vector["file"].endswith(".tar")]
PROOFS = [vector for vector in VECTORS if vector["file"].endswith(".tlog-proof")]
READER = FOLDER / "reader.py"
MADE = ["vectors.json", "policy", *(vector["file"] for vector in VECTORS)]


def name(vector: dict[str, Any]) -> str:
    return str(vector["file"])


def test_made_again(tmp_path: Path) -> None:
    """The generator gives the same bytes, and nothing lies in the folder that it did not make."""
    made = tmp_path / "made"
    made.mkdir()
    subprocess.run([sys.executable, "-I", str(FOLDER / "generate.py"), str(made)], check=True)
    assert {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()} == set(MADE)
    for path in MADE:
        assert (made / path).read_bytes() == (FOLDER / path).read_bytes(), path
    there = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert there == {*MADE, "generate.py", "reader.py"}


@pytest.mark.parametrize("vector", ARCHIVES, ids=name)
def test_verifier(vector: dict[str, Any]) -> None:
    """Our verifier says of each what the list says, and names the same place first."""
    key = Verifier.parse(INDEX["vkey"])
    trust = Policy.parse((FOLDER / INDEX["policy"]).read_bytes()) if vector.get("policy") else key
    before = vector.get("seen_before")
    seen = open_checkpoint((FOLDER / before).read_bytes(), key) if before else None
    with open_source(str(FOLDER / vector["file"])) as source:
        report = verify(source, trust, Options(remember=lambda _: seen))
    assert report.verdict.name.lower() == vector["expect"], report
    if vector["expect"] == "refuted":
        assert (report.findings[0].code, report.findings[0].place) == (vector["code"], vector["place"])
    if "anchored_size" in vector:
        assert report.as_json()["completeness"]["anchored_size"] == vector["anchored_size"]


_READ_ALL = """
import json, runpy, sys
reader, key, *files = sys.argv[1:]
said = {}
for file in files:
    sys.argv = [reader, file, key]
    try:
        runpy.run_path(reader, run_name="__main__")
        said[file] = "verified"
    except (Exception, SystemExit) as error:
        said[file] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def second_opinions() -> dict[str, str]:
    """What the second reader says of each archive, in a process without our code."""
    files = [str(FOLDER / vector["file"]) for vector in ARCHIVES]
    done = subprocess.run(
        [sys.executable, "-I", "-c", _READ_ALL, str(READER), INDEX["vkey"], *files], capture_output=True, text=True, check=True
    )
    return {Path(file).name: said for file, said in json.loads(done.stdout).items()}


@pytest.mark.parametrize("vector", ARCHIVES, ids=name)
def test_second_reader(vector: dict[str, Any], second_opinions: dict[str, str]) -> None:
    """So does the reader that shares no code with it. What it leaves out it accepts, but a key that it was not given."""
    refused = (vector["expect"] != "verified" and vector.get("reader", True)) or vector["file"] == "valid/rotated.tar"
    said = second_opinions[Path(vector["file"]).name]
    assert (said != "verified") is refused, said


def test_second_reader_as_a_command() -> None:
    """Its exit code is its answer."""
    for file, code in (("valid/ledger-257.tar", 0), ("hostile/bit-in-tile.tar", 1), ("hostile/spelled-not-utf8.tar", 1)):
        command = [sys.executable, "-I", str(READER), str(FOLDER / file), INDEX["vkey"]]
        assert subprocess.run(command, capture_output=True, check=False).returncode == code


@pytest.mark.parametrize("vector", PROOFS, ids=name)
def test_proofs(vector: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The command says of each proof what the list says."""
    code = cli.main(["check-proof", str(FOLDER / vector["file"]), "--key", INDEX["vkey"]])
    assert Verdict(code).name.lower() == vector["expect"], capsys.readouterr().out


def test_second_reader_is_small_and_stands_alone() -> None:
    """At most 60 lines, and it imports nothing but the standard library and cryptography."""
    lines = READER.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    modules = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert modules - set(sys.stdlib_module_names) == {"cryptography"}


def test_every_kind_of_vector_is_there() -> None:
    """The list holds what a verifier's author needs: valid and hostile archives and proofs, witnesses, memory."""
    assert {vector["expect"] for vector in ARCHIVES} == {"verified", "refuted", "unchecked"}
    assert {vector["expect"] for vector in PROOFS} == {"verified", "refuted"}
    assert len(VECTORS) > 70
    assert any(vector.get("policy") for vector in VECTORS)
    assert any(vector.get("seen_before") for vector in VECTORS)

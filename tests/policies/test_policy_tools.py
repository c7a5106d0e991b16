"""Format, types, tests and lint of the policies with OPA and Regal."""

import shutil
import subprocess
from pathlib import Path

import pytest

from consent.decisions.bundle import default_directory
from tests.policies import coverage
from tests.policies.conftest import ROOT, tool


@pytest.mark.opa
def test_the_policies_pass_opa_and_regal() -> None:
    """The one script that `make check` runs says so."""
    tool("opa")
    tool("regal")
    done = subprocess.run([ROOT / "deploy/tools/check-policies.sh"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.opa
def test_opa_check_refuses_what_rego_cpp_lets_pass(tmp_path: Path) -> None:
    """The gate can fail: an unsafe variable, which rego-cpp accepts."""
    (tmp_path / "bad.rego").write_text("package bad\n\np contains x if {\n\tnot input.list[x]\n}\n")
    done = subprocess.run([tool("opa"), "check", "--strict", tmp_path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "unsafe" in done.stderr


@pytest.mark.opa
def test_opa_check_refuses_a_member_that_the_input_does_not_have(tmp_path: Path) -> None:
    """The input's schema is used: a misspelt member is an error and not undefined for ever."""
    schema = ROOT / "policies/schemas/input.json"
    for member, accepted in (("purpose", True), ("porpuse", False)):
        (tmp_path / "p.rego").write_text(f"package p\n\nfound contains q if input.questions[q].{member}\n")
        command = [tool("opa"), "check", "--strict", "--schema", schema, tmp_path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode == 0) == accepted, done.stderr


@pytest.mark.opa
def test_a_line_that_nothing_uses_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coverage gate can fail: one more rule, which no case and no test reaches."""
    policies = Path(shutil.copytree(default_directory(), tmp_path / "policies"))
    rule = '\nrefusals[q] contains "item.unknown" if {\n\tsome q in unsound\n\tinput.questions[q].purpose == "never"\n}\n'
    purpose = policies / "rules" / "purpose.rego"
    purpose.write_text(purpose.read_text(encoding="utf-8") + rule, encoding="utf-8")
    monkeypatch.setattr(coverage, "default_directory", lambda: policies)
    found = coverage.uncovered(tool("opa"), tmp_path)
    assert found.keys() == {"rules/purpose.rego"}

"""Format, types, tests and lint of the policies with OPA and Regal."""

import subprocess
from pathlib import Path

import pytest

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

"""Each distribution, installed alone from its wheel in a clean environment outside the tree."""

import json
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = {"consent-audit": ROOT / "audit", "consent-sdk": ROOT / "sdk", "consent-server": ROOT}

pytestmark = pytest.mark.xdist_group("wheels")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three wheels, built once."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in PROJECTS.values():
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(command, cwd=project, check=True, capture_output=True)
    return {name: next(folder.glob(f"{name.replace('-', '_')}-*.whl")) for name in PROJECTS}


def install(wheel: Path, wheels: dict[str, Path], folder: Path) -> Path:
    """A clean environment with that wheel and what it requires, held to the versions of the lock."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    pins = re.findall(r"^([A-Za-z0-9._-]+==[^ \\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    (folder / "pins.txt").write_text("\n".join(pins))
    command = [python, "-I", "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", folder / "pins.txt"]
    subprocess.run([*command, "--find-links", wheels["consent-audit"].parent, wheel], check=True, cwd=folder)
    return python


def run(python: Path, folder: Path, *arguments: str, code: int = 0) -> str:
    """What a command of that environment prints, run outside the tree."""
    done = subprocess.run([python, "-I", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def installed(python: Path, folder: Path) -> set[str]:
    """Names of everything in that environment but its installer."""
    listing = run(python, folder, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    return {line.split("==", maxsplit=1)[0].lower() for line in listing.split()} - {"pip", "setuptools"}


def test_the_verifier_brings_cryptography_and_nothing_else(wheels: dict[str, Path], tmp_path: Path) -> None:
    """An auditor installs consent-audit, cryptography and what cryptography itself needs."""
    python = install(wheels["consent-audit"], wheels, tmp_path)
    assert installed(python, tmp_path) <= {"consent-audit", "cryptography", "cffi", "pycparser", "typing_extensions"}
    vectors = ROOT / "audit/vectors"
    key = json.loads((vectors / "vectors.json").read_text(encoding="utf-8"))["vkey"]
    rest = ["--key", key, "--state", str(tmp_path / "state")]
    assert "VERIFIED" in run(python, tmp_path, "-m", "consent_audit", "verify", str(vectors / "valid/ledger-257.tar"), *rest)
    assert "record 3" in run(python, tmp_path, "-m", "consent_audit", "verify", str(vectors / "hostile/member-order.tar"), *rest, code=1)


def test_the_sdk_brings_no_server_code(wheels: dict[str, Path], tmp_path: Path) -> None:
    """A bank gets the client and the verifier, and neither imports the server."""
    python = install(wheels["consent-sdk"], wheels, tmp_path)
    assert "consent-server" not in installed(python, tmp_path)
    program = "import consent_sdk, sys; print(len(consent_sdk.__all__)); assert 'consent' not in sys.modules"
    assert int(run(python, tmp_path, "-c", program)) > 5


def test_the_server_carries_its_policies(wheels: dict[str, Path], tmp_path: Path) -> None:
    """The wheel alone runs the command line, loads the catalogue and builds the policy bundle."""
    names = zipfile.ZipFile(wheels["consent-server"]).namelist()
    assert any(re.fullmatch(r"consent/policies/.*\.rego", name) for name in names)
    assert not [name for name in names if name.startswith(("tests/", "policies/", "sdk/", "audit/"))]
    python = install(wheels["consent-server"], wheels, tmp_path)
    program = "from consent.cli import main; main(['catalogue', '--json'])"
    assert '"N21-03-04"' in run(python, tmp_path, "-c", program)
    bundle = f"from consent.cli import main; main(['policy', 'bundle', {str(tmp_path / 'bundle')!r}])"
    assert re.fullmatch(r"[0-9a-f]{12,64}\s*", run(python, tmp_path, "-c", bundle))
    missing = run(python, tmp_path, "-c", "from consent.cli import main; main(['demo', '--exit'])", code=1)
    assert "Traceback" not in missing

"""What a new user types: the example, and the README's code as it stands there."""

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sdk_world import ITEM
from service_world import Service, answer_page

from consent.demo.sample import OPEN_ITEM
from consent_sdk import ConsentClient, Permit

SDK = Path(__file__).parents[2] / "sdk"

pytestmark = pytest.mark.xdist_group("service")  # one service for all of them, not one per worker


@pytest.fixture
def demo_json(service: Service, tmp_path: Path) -> Path:
    """demo.json with an enterprise of this test's own, as `consent demo` writes it."""
    facts = msgspec.structs.replace(service.facts, enterprise=service.enterprise())
    file = tmp_path / "demo.json"
    file.write_bytes(msgspec.json.encode(facts))
    return file


def test_example(demo_json: Path) -> None:
    """An open item is permitted with its fields; one that nobody granted is not, with the reason."""
    for item, said in ((OPEN_ITEM, f"permitted {{'{OPEN_ITEM}': ('{OPEN_ITEM}.01'"), (ITEM, "not permitted")):
        command = [sys.executable, "-W", "error", str(SDK / "examples" / "ask.py"), str(demo_json), item]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(said)
    assert done.stdout.rstrip().endswith("item.not_granted")


def test_serving_example(demo_json: Path) -> None:
    """A platform serves an open item's rows and nothing that its fields do not name."""
    command = [sys.executable, "-W", "error", str(SDK / "examples" / "serve.py"), str(demo_json)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"'{OPEN_ITEM}.01': '示例市晨曦五金制品有限公司'" in done.stdout
    assert "不在目录" not in done.stdout


class Typed(io.StringIO):
    """Standard input that is asked for only after the person has acted."""

    def __init__(self, act: Any) -> None:
        super().__init__()
        self._act = act

    def readline(self, *_: Any) -> str:
        return f"{self._act()}\n"


@pytest.fixture
def typed(service: Service, demo_json: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The README's Python, run block by block in one session beside demo.json; its names."""
    blocks = re.findall(r"```python\n(.*?)```", (SDK / "README.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    enterprise = msgspec.json.decode(demo_json.read_bytes(), type=type(service.facts)).enterprise
    monkeypatch.chdir(demo_json.parent)
    monkeypatch.setattr("sys.stdin", Typed(lambda: answer_page(service, names["pending"].url, enterprise)))
    for block in blocks:
        exec(_closing(block), names)
    yield names
    names["client"].close()


def _closing(block: str) -> str:
    """The block, its one open file closed, since a test takes an unclosed file for a fault."""
    return block.replace('json.load(open("demo.json"))', 'json.loads(__import__("pathlib").Path("demo.json").read_text())')


def test_readme(service: Service, typed: dict[str, Any]) -> None:
    """Each block runs as it is written: a permit for the open item, a grant, and a platform that redeems a ticket."""
    assert type(typed["decision"]) is Permit
    assert typed["grant"].items == ("N21-03-04",)
    enterprise = typed["enterprise"]
    permit = typed["client"].check(enterprise, ["N21-03-04"], "pre_loan", product="tax-loan-01")
    who = service.facts.platform
    with ConsentClient(service.issuer, who.client_id, who.private_jwk, institution_id=who.institution_id) as platform:
        held = [dict.fromkeys([*permit.permitted["N21-03-04"], "N21-03-04.99"], "（示例数据）")]
        served = typed["answer"](platform, enterprise, {"N21-03-04": held}, permit.id)["N21-03-04"]
        assert served.fields == permit.permitted["N21-03-04"]
        assert served.rows == (dict.fromkeys(served.fields, "（示例数据）"),)
        assert served.retain_days is not None

"""OAuth clients that others wrote complete the flow unmodified: openid-client and oauth4webapi, from npm."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from service_world import Service, answer_page

from consent.demo.sample import request_details

FOLDER = Path(__file__).parent
NODE = shutil.which("node")

pytestmark = [pytest.mark.npm, pytest.mark.xdist_group("npm")]


@pytest.fixture(autouse=True)
def installed() -> None:
    """`make tools` installs them; without node they are skipped, but never in CI."""
    if NODE is None or not (FOLDER / "node_modules" / "openid-client").exists():
        assert os.environ.get("CI") != "true", "the clients from npm are not installed"
        pytest.skip("the clients from npm are not installed; run make tools")


def play(service: Service, program: str, *, signed: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run the program, answering its visits as the enterprise would. Yields its steps."""
    bank, enterprise = service.facts.bank, service.enterprise()
    options = {
        "issuer": service.issuer,
        "client_id": bank.client_id,
        "jwk": bank.private_jwk,
        "redirect_uri": bank.redirect_uri,
        "login_hint": enterprise.id,
        "details": [detail.to_wire(number) for number, detail in enumerate(request_details()[:2], 1)],
        "signed": signed,
    }
    assert NODE is not None
    command = [NODE, str(FOLDER / program), json.dumps(options)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert None not in {process.stdin, process.stdout, process.stderr}
    try:
        for line in process.stdout:
            told = json.loads(line)
            if told["step"] == "visit":
                process.stdin.write(json.dumps(answer_page(service, told["url"], enterprise)) + "\n")
                process.stdin.flush()
            yield told.pop("step"), told
        assert process.wait(20) == 0, process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("signed", [False, True], ids=["pushed", "signed"])
@pytest.mark.parametrize("program", ["openid_client.mjs", "oauth4webapi.mjs"])
def test_the_whole_flow(service: Service, program: str, signed: bool) -> None:
    """PAR, PKCE, DPoP, private_key_jwt, RAR, consent in the pages, code, refresh, introspection, revocation, a call; with JAR too."""
    steps = dict(play(service, program, signed=signed))
    assert list(steps) == ["visit", "tokens", "introspected", "refreshed", "revoked", "grant", "replayed", "done"]
    tokens = steps["tokens"]["tokens"]
    details = tokens["authorization_details"]
    assert [len(details), tokens["refused_details"], tokens["unmet_required"]] == [2, [], []]
    assert steps["introspected"]["token"]["active"] is True
    assert steps["introspected"]["token"]["authorization_details"] == details
    assert steps["refreshed"]["tokens"]["authorization_details"] == details
    assert steps["revoked"] == {"token": {"active": False}, "error": "invalid_grant"}
    assert steps["grant"]["status"] == 200
    assert steps["grant"]["grant"]["grant_id"] == tokens["grant_id"]
    assert steps["replayed"]["error"] == "invalid_grant"

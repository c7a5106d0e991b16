"""`consent catalogue --json` and GET /catalogue: the installed catalogue, with regional lists, or the one in force."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from consent.catalogue.load import load
from tests.activation.test_policy_commands import client_of, serving
from tests.catalogue.regional_list import ITEM, regional_list, write_list

COMMAND = [sys.executable, "-m", "consent", "catalogue", "--json"]


def told(**environment: str) -> subprocess.CompletedProcess[bytes]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONSENT_")}
    return subprocess.run(COMMAND, env={**clean, **environment}, capture_output=True, timeout=60, check=False)


def test_regional_lists_are_shown(tmp_path: Path) -> None:
    """Without a service: the package's own, to the byte; with a directory of lists, their items and whose they are."""
    assert told().stdout == load().to_json() + b"\n"
    body: dict[str, Any] = json.loads(told(CONSENT_CATALOGUE_EXTENSIONS=str(write_list(tmp_path / "regions"))).stdout)
    assert ITEM in {item["code"] for item in body["items"]}
    assert body["lists"][-1]["region"] == {"code": "99", "name": {"zh": "示例省", "en": "Sample Province"}}
    document = regional_list()
    document["items"]["prefix"] = "N21"
    refused = told(CONSENT_CATALOGUE_EXTENSIONS=str(write_list(tmp_path / "wrong", document)))
    assert refused.returncode == 1
    assert refused.stderr.startswith(b"Error: r99.json: items.prefix")


def test_a_regional_list_comes_into_force_in_a_running_service(server_urls: tuple[str, str], tmp_path: Path) -> None:
    """Unknown before; after the activation its item is decided like any other, and command and page answer the same catalogue."""
    with serving(server_urls, tmp_path) as (service, operator), client_of(service) as client:

        def codes() -> tuple[str, ...]:
            return client.check(service.facts.enterprise.id, [ITEM], "pre_loan", product="tax-loan-01").codes

        assert codes() == ("item.unknown",)
        bundle, regions = str(tmp_path / "regional.tar.gz"), str(write_list(tmp_path / "regions"))
        revision = operator.does("build", bundle, "--key", str(tmp_path / "policy.key"), "--extensions", regions).strip()
        operator.does("propose", bundle, person="ann")
        operator.does("approve", bundle, person="ann")
        operator.does("approve", bundle, person="bob")
        operator.does("activate", revision)
        assert codes() == ("item.not_granted",)
        served = httpx.get(f"{service.issuer}/catalogue").content
        key = str(tmp_path / "ledger.key")
        command = told(CONSENT_DATABASE_URL=service.app_url, CONSENT_ISSUER=service.issuer, CONSENT_LEDGER_KEY_FILE=key)
        assert command.stdout == served + b"\n"
        assert ITEM.encode() in served
        activated = service.records("catalogue.activated")[-1]
        assert activated["version"] == json.loads(served)["version"]
        assert len(set(activated["approvers"])) == 2

"""The life of a policy as operators live it: commands, a running service under checks, and a real OPA."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from service_world import Service, cloned_database, running_service

from consent.demo.sample import OPEN_ITEM
from consent_sdk import ConsentClient, ConsentSdkError, Denial, Permit, Undecided
from tests.activation.activation_world import release
from tests.policies.conftest import tool


class Operator:
    """Runs `consent policy …` as on the service's host."""

    def __init__(self, service: Service, folder: Path) -> None:
        self._folder = folder
        key = folder / "ledger.key"
        self._environment = {
            **os.environ,
            "CONSENT_DATABASE_URL": service.app_url,
            "CONSENT_ISSUER": service.issuer,
            "CONSENT_LEDGER_KEY_FILE": str(key),
            "CONSENT_POLICY_KEYS_FILE": str(folder / "policy.key.pub"),
        }
        self._people = {}
        for name, person in (("ann", service.facts.operator), ("bob", service.facts.second_operator), ("reg", service.facts.regulator)):
            file = folder / f"{name}.password"
            file.write_text(f"{person.password}\n")
            self._people[name] = ["--user", person.username, "--password-file", str(file)]

    def tries(self, *words: str, person: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever becomes of it."""
        who = [] if person is None else self._people[person]
        command = [sys.executable, "-m", "consent", "policy", *words, *who]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=False)

    def does(self, *words: str, person: str | None = None) -> str:
        """Run a command that succeeds; its output."""
        done = self.tries(*words, person=person)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *words: str, person: str | None = None) -> str:
        """Run a command that is refused in one line, without a stack trace; what it says."""
        done = self.tries(*words, person=person)
        assert done.returncode == 1, done.stdout
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("Error: ")
        return done.stderr


@contextmanager
def serving(server_urls: tuple[str, str], folder: Path, **extra: str) -> Iterator[tuple[Service, Operator]]:
    """A service that trusts the operator's key."""
    subprocess.run([sys.executable, "-m", "consent", "policy", "keygen", str(folder / "policy.key")], check=True, capture_output=True)
    extra = {"CONSENT_POLICY_KEYS_FILE": str(folder / "policy.key.pub"), **extra}
    with cloned_database(*server_urls) as (owner_url, app_url), running_service(app_url, owner_url, folder, extra) as service:
        yield service, Operator(service, folder)


def client_of(service: Service) -> ConsentClient:
    who = service.facts.second_bank
    return ConsentClient(service.issuer, who.client_id, who.private_jwk, institution_id=who.institution_id)


class Asking:
    """A bank that asks without a pause: which policies answered, in order, and what went wrong."""

    def __init__(self, service: Service) -> None:
        self.policies: list[str] = []
        self.ids: list[str] = []
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._service = service
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        enterprise = self._service.facts.enterprise.id
        with client_of(self._service) as client:
            while not self._stop.is_set():
                try:
                    decision = client.check(enterprise, [OPEN_ITEM], "pre_loan", product="tax-loan-01")
                    assert isinstance(decision, Permit)
                except (ConsentSdkError, AssertionError) as error:
                    self.wrong.append(repr(error))
                else:
                    self.policies.append(decision.policy)
                    self.ids.append(decision.id)

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def wait_for(self, policy: str) -> None:
        """Until this revision answers."""
        deadline = time.monotonic() + 60
        while policy not in self.policies[-1:]:
            assert time.monotonic() < deadline, (self.policies[-1:], self.wrong[-3:])
            time.sleep(0.05)


def test_a_bundle_comes_into_force_while_checks_run(server_urls: tuple[str, str], tmp_path: Path) -> None:
    """Built, proposed, approved twice, activated from the command line: no check fails, the answers change once and never back, and each
    decision is explained by the policies that made it."""
    with serving(server_urls, tmp_path) as (service, operator):
        release(tmp_path, "newer")
        bundle = str(tmp_path / "newer.tar.gz")
        newer = operator.does("build", bundle, "--key", str(tmp_path / "policy.key"), "--policies", str(tmp_path / "newer")).strip()
        with Asking(service) as asking:
            assert newer in operator.does("propose", bundle, person="ann")
            assert "Two different operators must approve it; 0 did" in operator.refused("activate", newer)
            operator.does("approve", bundle, person="ann")
            assert "One person approves once" in operator.refused("approve", bundle, person="ann")
            assert "Only operators" in operator.refused("approve", bundle, person="reg")
            assert "Two different operators must approve it; 1 did" in operator.refused("activate", newer)
            assert "尚缺 1 人" in operator.does("list")
            assert "ready to activate" in operator.does("approve", bundle, person="bob")
            first = asking.policies[-1]
            assert first != newer
            operator.does("activate", newer)
            asking.wait_for(newer)
            time.sleep(0.5)
        assert asking.wrong == []
        change = asking.policies.index(newer)
        assert set(asking.policies[:change]) == {first}
        assert set(asking.policies[change:]) == {newer}
        listed = operator.does("list").splitlines()
        assert re.search(rf"生效 in force  {newer} ", listed[0])
        assert first in listed[1]
        for place, revision in ((0, first), (-1, newer)):
            explained = json.loads(operator.does("explain", asking.ids[place], "--json"))
            assert explained["policy"]["revision"] == revision
            assert explained["items"][0]["basis"] == "open"
        fetched = tmp_path / "fetched.tar.gz"
        assert operator.does("fetch", str(fetched)).strip() == newer
        assert fetched.read_bytes() == Path(bundle).read_bytes()
        served = httpx.get(f"{service.issuer}/policy/bundle.tar.gz")
        assert served.content == fetched.read_bytes()
        again = httpx.get(f"{service.issuer}/policy/bundle.tar.gz", headers={"If-None-Match": served.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_a_denial_is_explained(server_urls: tuple[str, str], tmp_path: Path) -> None:
    """Chinese first: item, outcome, rule with its clause, and what cures it. What is no decision's id is told so."""
    with serving(server_urls, tmp_path) as (service, operator):
        with client_of(service) as client:
            enterprise = service.facts.enterprise.id
            denied = client.check(enterprise, ["N21-03-04", "N24-07-02", "X"], "pre_loan", product="tax-loan-01")
            assert isinstance(denied, Denial)
        text = operator.does("explain", denied.id)
        assert "企业未向本机构授权此项" in text
        assert "Not granted" in text
        assert "如何解决" in text
        assert re.search(r"rules/[a-z]+\.rego:\d+ ", text)
        assert "发改办财金〔2022〕299号" in text
        told = json.loads(operator.does("explain", denied.id, "--json"))
        by_item = {item["item"]: item for item in told["items"]}
        assert set(by_item) == {"N21-03-04", "N24-07-02", "unknown"}
        (reason,) = by_item["N24-07-02"]["reasons"]
        assert reason["code"] == "item.not_necessary"
        assert reason["solution"]["zh"]
        assert {rule["clause"] for rule in reason["rules"]} >= {"发改办财金〔2022〕299号 四"}
        assert all(reason["code"] in rule["codes"] for rule in reason["rules"])
        assert "No such decision" in operator.refused("explain", "A" * 22)
        for hostile in ("", "' or 1=1 --", "x" * 5000, "决定", "../../etc/passwd", denied.id + "\n"):
            assert "22 letters" in operator.refused("explain", "--", hostile)


class Opa:
    """A real OPA on one port, started again with other words."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str) -> None:
        """Serve, in place of what it served before."""
        self.stop()
        command = [tool("opa"), "run", "--server", "--addr", f"127.0.0.1:{self._port}", "--log-level", "error", "--skip-version-check"]
        self._process = subprocess.Popen([*command, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_until(lambda: httpx.get(f"{self.url}/health", timeout=1), 200)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@pytest.fixture
def opa() -> Iterator[Opa]:
    """Not started."""
    made = Opa()
    yield made
    made.stop()


def wait_until(ask: Callable[[], httpx.Response], status: int) -> httpx.Response:
    """The first answer of that status."""
    deadline = time.monotonic() + 60
    answer: httpx.Response | None = None
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            answer = ask()
            if answer.status_code == status:
                return answer
        time.sleep(0.05)
    raise AssertionError(f"no {status}, the last was {answer and answer.text}")


def ready(service: Service) -> httpx.Response:
    return httpx.get(f"{service.issuer}/readyz", timeout=5)


def put_in_force(operator: Operator, folder: Path, name: str) -> str:
    """Build another release and put it in force; its revision."""
    release(folder, name)
    bundle = str(folder / f"{name}.tar.gz")
    revision = operator.does("build", bundle, "--key", str(folder / "policy.key"), "--policies", str(folder / name)).strip()
    operator.does("propose", bundle, person="ann")
    operator.does("approve", bundle, person="bob")
    operator.does("approve", bundle, person="ann")
    operator.does("activate", revision)
    return revision


@pytest.mark.opa
def test_an_opa_with_a_stale_or_unknown_revision_is_refused(server_urls: tuple[str, str], tmp_path: Path, opa: Opa) -> None:
    """503, and readiness names both revisions; an OPA that polls the service takes over what comes into force by itself."""
    installed = tmp_path / "installed"
    command = [sys.executable, "-m", "consent", "policy", "bundle", str(installed)]
    first = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    opa.start("--bundle", str(installed))
    with serving(server_urls, tmp_path, CONSENT_OPA_URL=opa.url) as (service, operator), client_of(service) as client:

        def ask() -> str:
            return client.check(service.facts.enterprise.id, [OPEN_ITEM], "pre_loan", product="tax-loan-01").policy

        assert ask() == first
        newer = put_in_force(operator, tmp_path, "newer")
        refused = wait_until(lambda: ready(service), 503)
        # The process took it over within seconds, and OPA did not.
        refused = wait_until(lambda: ready(service) if newer in ready(service).text else httpx.Response(0), 503)
        assert first in refused.text
        assert "规则引擎提供的规则版本" in refused.text
        with pytest.raises(Undecided):
            ask()
        denied = service.records("access.decided")[-1]
        assert (denied["codes"], denied["policy"]) == (["policy.unavailable"], newer)

        configuration = tmp_path / "opa.json"
        configuration.write_text(operator.does("opa-config"))
        opa.start("--config-file", str(configuration))
        wait_until(lambda: ready(service), 200)
        assert ask() == newer
        newest = put_in_force(operator, tmp_path, "newest")
        wait_until(
            lambda: ready(service) if newest in httpx.get(f"{service.issuer}/policy/bundle.tar.gz").headers["etag"] else httpx.Response(0),
            200,
        )
        assert ask() == newest

        # One that knows nothing decides nothing.
        opa.start()
        assert "规则引擎暂不可用" in wait_until(lambda: ready(service), 503).text
        with pytest.raises(Undecided):
            ask()

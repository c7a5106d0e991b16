"""The tour: the main job walked over real HTTP with the real SDK, a real login and the real pages; each step prints what held.

Nothing here looks inside the service: a bank, a platform, a browser, an auditor's program and a regulator's account see what
theirs would see. A step that does not hold stops the tour.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx

from consent.demo.browser import Browser, PageError
from consent.demo.sample import EXCESS_ITEM, GRANTED_ITEMS, LEFT_OUT_ITEM, OPEN_ITEM, PRODUCT, PURPOSE, DemoFile, request_details
from consent_audit.record import decode_record
from consent_audit.tiles import unverified_entries
from consent_sdk import ConsentClient, ConsentSdkError, Decision, Denial, Grant, PartialPermit, PendingConsent, Permit, RequestRefused

T = TypeVar("T")
ENTRIES_FOLDER = "tile/entries/"
STEPS_IN_THE_LEDGER = frozenset(
    {"grant.request_refused", "grant.requested", "grant.approved", "access.decided", "access.delivered", "grant.narrowed", "grant.revoked"}
)


class StepFailedError(Exception):
    """A step of the tour did not hold."""


def require(held: bool, what: str) -> None:
    """Stop the tour unless it held."""
    if not held:
        raise StepFailedError(what)


def recorded_types(export: Path) -> Counter[str]:
    """How many records of each type an export holds."""
    with tarfile.open(export) as archive:
        bundles = [archive.extractfile(member) for member in archive if member.name.startswith(ENTRIES_FOLDER)]
        entries = [entry for bundle in bundles if bundle is not None for entry in unverified_entries(bundle.read())]
    return Counter(decode_record(entry).type for entry in entries)


def known(value: T | None) -> T:
    """What an earlier step learned."""
    if value is None:
        raise StepFailedError("an earlier step is missing")
    return value


class Tour:
    """One walk. State is what the parties would remember between steps.

    Args:
        facts: the contents of demo.json.
        platform_url: the sample data platform.
        say: prints one line.
        export: what the operator does to hand an auditor the whole ledger as a file.
    """

    def __init__(self, facts: DemoFile, platform_url: str, say: Callable[[str], None], export: Callable[[Path], None]) -> None:
        self.facts = facts
        self.export = export
        self.platform_url = platform_url
        self.say = say
        self.enterprise = facts.enterprise.id
        bank, second, platform = facts.bank, facts.second_bank, facts.platform
        self.bank = ConsentClient(
            facts.issuer, bank.client_id, bank.private_jwk, institution_id=bank.institution_id, redirect_uri=bank.redirect_uri
        )
        self.second_bank = ConsentClient(facts.issuer, second.client_id, second.private_jwk, institution_id=second.institution_id)
        self.platform = ConsentClient(facts.issuer, platform.client_id, platform.private_jwk, institution_id=platform.institution_id)
        self.browser = Browser(facts.issuer)
        self.pending: PendingConsent | None = None
        self.grant: Grant | None = None
        self.permit: Decision | None = None
        self.indexes: dict[str, int] = {}
        self.returned = ""

    def walk(self) -> bool:
        """All steps in order; True if every one held."""
        steps: list[tuple[str, str, Callable[[], str]]] = [
            ("银行多要了一项与贷前调查无关的信息，整笔请求被退回", "an over-broad request is refused as a whole", self.over_broad),
            ("银行按建议重新提交，获得受理", "the bank pushes again and is accepted", self.push),
            ("企业登录、阅读风险告知，逐项勾选，留下一项不授权", "the enterprise logs in and grants all items but one", self.approve),
            ("银行换取令牌，看到已授权与未授权的内容", "the bank sees what was granted and what was not", self.finish),
            ("银行查询：只有已授权的项目获准", "the bank is permitted for the granted items only", self.ask),
            ("数据平台先核销许可再提供，得到字段清单", "the platform redeems the permit and gets the field list", self.redeem),
            ("依法公开的项目无需授权", "an openly shared item needs no grant", self.open_item),
            ("另一家银行查询被拒", "a second bank is denied", self.other_bank),
            ("以营销为目的的查询被拒", "a marketing purpose is denied", self.marketing),
            ("企业撤回一项，再撤回全部", "the enterprise revokes one item, then all", self.revoke),
            ("撤回之后再查即被拒", "the next check is denied", self.denied_after),
            ("审计人员离线核验整本账，找到每一步", "an auditor verifies the whole ledger offline and finds every step", self.audit),
            ("监管报表与上述各步一致", "the regulator's report counts them", self.report),
        ]
        for number, (zh, en, step) in enumerate(steps, 1):
            try:
                detail = step()
            except (StepFailedError, PageError, ConsentSdkError, httpx.HTTPError, KeyError, IndexError) as error:
                self.say(f"✗ {number:2}. {zh}  {en}\n      {type(error).__name__}: {error}")
                return False
            self.say(f"✓ {number:2}. {zh}  {en}\n      {detail}")
        return True

    def close(self) -> None:
        """Close every connection."""
        for client in (self.bank, self.second_bank, self.platform):
            client.close()
        self.browser.__exit__()

    # ------------------------------------------------------------ consent

    def over_broad(self) -> str:
        """Refused at PAR with a verdict per item."""
        try:
            self.bank.request_consent(request_details(extra=EXCESS_ITEM), login_hint=self.enterprise)
        except RequestRefused as refused:
            wrong = [v for v in refused.verdicts if v["verdict"] != "keep"]
            require(len(wrong) == 1, "exactly one item is at fault")
            require("item.not_necessary" in wrong[0]["codes"], "its code is item.not_necessary")
            return f"{EXCESS_ITEM}: {', '.join(wrong[0]['codes'])} — {wrong[0]['solution']['zh']}"
        raise StepFailedError("the request was accepted")

    def push(self) -> str:
        """Accepted without the excess."""
        self.pending = self.bank.request_consent(request_details(), login_hint=self.enterprise)
        return f"request_uri, {self.pending.expires_in} s"

    def approve(self) -> str:
        """Log in, acknowledge, tick all but one."""
        page = self.browser.open(known(self.pending).url)
        page.submit(action="/login", fill={"username": self.facts.enterprise.username, "password": self.facts.enterprise.password})
        boxes = page.boxes()
        items = [box for box in boxes if box[0] == "item"]
        require(len(items) == len(GRANTED_ITEMS) + 1, "the page offers each requested item")
        acknowledge = next(box for box in boxes if box[0] == "acknowledged")
        page.submit(("decision", "approve"), tick=[*items[:-1], acknowledge])
        require(page.left_to is not None, "she is sent back to the bank")
        self.returned = page.left_to or ""
        return f"{len(items) - 1} of {len(items)} items ticked, nothing was ticked for her"

    def finish(self) -> str:
        """Code against token."""
        self.grant = self.bank.finish(known(self.pending), self.returned)
        require(sorted(self.grant.items) == sorted(GRANTED_ITEMS), "granted is what was ticked")
        require(len(self.grant.refused) == 1, "refused is what was left out")
        return f"grant {self.grant.grant_id}: {', '.join(self.grant.items)}; refused: {LEFT_OUT_ITEM}"

    # ------------------------------------------------------------ checks

    def _check(self, name: str, client: ConsentClient, items: list[str], purpose: str = PURPOSE, **options: Any) -> Decision:
        decision = client.check(self.enterprise, items, purpose, product=options.pop("product", PRODUCT), **options)
        self.indexes[name] = decision.ledger_index
        return decision

    def ask(self) -> str:
        """All requested: partial. The granted ones: permit."""
        partial = self._check("partial", self.bank, [*GRANTED_ITEMS, LEFT_OUT_ITEM])
        require(isinstance(partial, PartialPermit) and not partial, "asking for all is a partial permit")
        require(sorted(partial.permitted) == sorted(GRANTED_ITEMS), "exactly the granted items are permitted")
        self.permit = self._check("permit", self.bank, list(GRANTED_ITEMS))
        require(isinstance(self.permit, Permit), f"the granted items are permitted ({', '.join(self.permit.codes)})")
        records = f"ledger records {partial.ledger_index}, {self.permit.ledger_index}"
        return f"{len(GRANTED_ITEMS)} items permitted, {LEFT_OUT_ITEM}: item.not_granted; {records}"

    def redeem(self) -> str:
        """The platform serves under the bank's ticket, once."""
        permit = known(self.permit)
        order = {
            "institution": self.facts.bank.institution_id,
            "enterprise": self.enterprise,
            "items": list(GRANTED_ITEMS),
            "purpose": PURPOSE,
            "product": PRODUCT,
            "ticket": permit.id,
        }
        served = httpx.post(f"{self.platform_url}/data", json=order, timeout=20)
        require(served.status_code == 200, f"the platform serves ({served.status_code} {served.text[:200]})")
        fields = {item: sorted(values) for item, values in served.json()["items"].items()}
        require(fields == {item: sorted(values) for item, values in permit.permitted.items()}, "the permitted fields, no others")
        again = httpx.post(f"{self.platform_url}/data", json=order, timeout=20)
        require(again.status_code == 403 and again.json()["codes"] == ["ticket.invalid"], "a second redemption is refused")
        return f"{sum(map(len, fields.values()))} fields of {len(fields)} items; a second redemption: ticket.invalid"

    def open_item(self) -> str:
        """Basis open."""
        decision = self._check("open", self.second_bank, [OPEN_ITEM])
        require(bool(decision) and decision.items[0].basis == "open", f"permitted as open ({', '.join(decision.codes)})")
        return f"{OPEN_ITEM}: basis open"

    def other_bank(self) -> str:
        """The grant is for one bank."""
        decision = self._check("other", self.second_bank, list(GRANTED_ITEMS))
        require(isinstance(decision, Denial), "denied")
        require(set(decision.codes) == {"item.not_granted"}, f"as if there were no grant ({', '.join(decision.codes)})")
        return f"item.not_granted — {decision.solution_zh}"

    def marketing(self) -> str:
        """Financing alone."""
        decision = self._check("marketing", self.bank, list(GRANTED_ITEMS), "marketing")
        require(isinstance(decision, Denial) and "purpose.not_financing" in decision.codes, "denied as not financing")
        return f"purpose.not_financing — {decision.solution_zh}"

    def revoke(self) -> str:
        """In the browser: one item, then all."""
        grant = known(self.grant)
        grant_page = f"/my/grants/{grant.grant_id}"
        page = self.browser.open(grant_page)
        first = page.links(f"{grant_page}/revoke?item=")[0]
        page.open(first).submit(action="/revoke")
        gone = known(self.grant).items[0]
        after_one = self._check("narrowed", self.bank, list(GRANTED_ITEMS))
        require(set(after_one.permitted) == set(GRANTED_ITEMS) - {gone}, "that item is gone, the others are still permitted")
        page.open(f"{grant_page}/revoke").submit(action="/revoke")
        require(page.status == 200, "the grant is revoked")
        return f"{gone}, then {grant.grant_id}"

    def denied_after(self) -> str:
        """Effective for every later check."""
        decision = self._check("revoked", self.bank, list(GRANTED_ITEMS))
        require(isinstance(decision, Denial), "denied")
        require(decision.ledger_index > self.indexes["narrowed"], "after the revocation in the ledger")
        return f"{', '.join(decision.codes)}, ledger record {decision.ledger_index}"

    # ------------------------------------------------------------ audit and report

    def audit(self) -> str:
        """`consent-audit` over an export and over the URL, in processes of their own, and a replay; then the steps are looked up."""
        self._wait_for_head(max(self.indexes.values()))
        with tempfile.TemporaryDirectory() as directory:
            export = Path(directory) / "ledger.tar"
            self.export(export)
            state = ["--state", str(Path(directory) / "seen.json")]
            size = int(self._audited("verify", [str(export), *state])["size"])
            self._audited("verify", [self.facts.auditor.ledger_url, "--token", self.facts.auditor.token, *state])
            permits = self._audited("replay", [str(export), *state])["permits"]
            found = recorded_types(export)
        require(size > max(self.indexes.values()), "every step lies within the verified tree")
        missing = STEPS_IN_THE_LEDGER - found.keys()
        require(not missing, f"every step is a record (missing: {', '.join(missing)})")
        decided = f"{found['access.decided']} decisions, {permits} permits, each covered when replayed"
        return f"{size} records verified from the export and from the service; {decided}"

    def _audited(self, what: str, source: list[str]) -> dict[str, Any]:
        command = [sys.executable, "-I", "-m", "consent_audit", what, *source, "--key", self.facts.auditor.vkey, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        require(done.returncode == 0, f"{what}: verified (exit {done.returncode}): {done.stdout[-400:]}{done.stderr[-400:]}")
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def _wait_for_head(self, index: int) -> None:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            checkpoint = httpx.get(f"{self.facts.auditor.ledger_url}/checkpoint", timeout=5)
            if checkpoint.status_code == 200 and int(checkpoint.text.split("\n")[1]) > index:
                return
            time.sleep(0.2)
        raise StepFailedError("no checkpoint covers the steps")

    def report(self) -> str:
        """The regulator reads it with his own account."""
        with Browser(self.facts.issuer) as browser:
            browser.open("/login?next=/reports/accesses").submit(
                action="/login", fill={"username": self.facts.regulator.username, "password": self.facts.regulator.password}
            )
            require(browser.status == 200, "the page opens")
            now = datetime.now(UTC)
            period = f"from={now - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}&to={now + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"
            report = json.loads(browser.open(f"/reports/accesses.json?{period}").text)
        bank = next(row for row in report["institutions"] if row["institution"] == self.facts.bank.institution_id)
        require(bank["requests_refused"] >= 1 and bank["grants"] >= 1 and bank["revoked"] >= 1, "requests, grants and revocations count")
        require(bank["full"] >= 1 and bank["partial"] >= 1 and bank["none"] >= 2, "permits, partial permits and denials count")
        require(report["ledger"]["last"] >= self.indexes["revoked"], "the report covers the last step")
        ledger = report["ledger"]
        return f"records {ledger['first']}–{ledger['last']}: {bank['checks']} checks, {bank['grants']} grant, {bank['revoked']} revocation"

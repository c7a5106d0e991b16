"""An explained decision: what is said of it, as values, as JSON and as plain text. No I/O."""

from collections.abc import Iterator

import msgspec

from consent.catalogue.model import Words
from consent.decisions.annotations import Rule
from consent.decisions.codes import Code

_OUTCOMES = {
    "full": Words("全部准许", "granted in full"),
    "partial": Words("部分准许", "granted in part"),
    "none": Words("全部拒绝", "denied"),
    "permit": Words("准许", "permitted"),
    "permit_masked": Words("准许，但有所保留", "permitted with restrictions"),
    "verify_only": Words("仅核验，答复一致或不一致", "match or no match only"),
    "model_only": Words("仅供建模，只出结果", "for a model only, results leave and no detail"),
    "deny": Words("拒绝", "denied"),
}
_BASES = {
    "open": Words("清单公开共享，无须授权", "shared openly by the list; needs no grant"),
    "grant": Words("企业的授权", "the enterprise's grant"),
    "person": Words("本人的授权", "the person's own grant"),
    "model": Words("联合建模，明细不出域", "joint modelling; no detail leaves"),
}
_UNDECIDED = Words("规则引擎未作出决定", "The policy engine decided nothing")


class Reason(msgspec.Struct, frozen=True):
    """One code, what it means, what cures it, and the rules that give it."""

    code: str
    title: Words
    solution: Words
    clause: str
    rules: tuple[Rule, ...]


class ExplainedItem(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one item, with its reasons; a permit without reservation has none. `basis` with the grant and its detail."""

    item: str
    name: Words
    outcome: str
    basis: str | None
    grant: str | None
    detail: str | None
    fields: tuple[str, ...]
    withheld: tuple[str, ...]
    reasons: tuple[Reason, ...]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The policies that decided, and the record that put them in force. `approvers` are account ids; none at the first start."""

    revision: str
    catalogue: str
    activated: int
    approvers: tuple[str, ...]
    signed_by: str | None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision explained from its record and the policies that were in force then."""

    decision: str
    index: int
    time: str
    institution: str
    platform: str | None
    action: str
    purpose: str
    purpose_name: Words
    outcome: str
    policy: Policy
    items: tuple[ExplainedItem, ...]

    def to_json(self) -> bytes:
        """One object; `Words` are {zh, en}."""
        return msgspec.json.encode(self)

    def to_text(self) -> str:
        """For people: Chinese first, English below each line."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        reached, policy = _OUTCOMES[self.outcome], self.policy
        yield f"决定 {self.decision}（账本第 {self.index} 条，{self.time}）：{reached.zh}"
        yield f"Decision {self.decision}, ledger record {self.index}: {reached.en}"
        for_whom = self.institution if self.platform is None else f"{self.institution}，由 {self.platform} 查询"
        yield f"机构 institution {for_whom}；操作 action {self.action}；用途 purpose {self.purpose_name.zh} {self.purpose_name.en}"
        who = "、".join(policy.approvers) or "首次启动 first start"
        yield f"规则版本 policies {policy.revision}，目录 catalogue {policy.catalogue}"
        yield f"  账本第 {policy.activated} 条起生效 in force from record {policy.activated}，批准人 approved by {who}"
        for item in self.items:
            yield ""
            yield from _item_lines(item)


def _item_lines(item: ExplainedItem) -> Iterator[str]:
    reached = _OUTCOMES[item.outcome]
    yield f"{item.item} {item.name.zh}：{reached.zh}"
    yield f"    {item.name.en}: {reached.en}"
    if item.basis is not None:
        basis = _BASES[item.basis]
        named = "" if item.grant is None else f" {item.grant} {item.detail}"
        yield f"  依据：{basis.zh}{named}；给出 {len(item.fields)} 个字段"
        yield f"    Basis: {basis.en}{named}; {len(item.fields)} fields given"
    if item.withheld:
        yield f"  未给出字段 withheld：{' '.join(item.withheld)}"
    for reason in item.reasons:
        yield f"  {reason.code}：{reason.title.zh}（{reason.clause}）"
        yield f"    {reason.title.en}"
        yield from _rule_lines(reason.rules)
        yield f"  如何解决：{reason.solution.zh}"
        yield f"    To cure it: {reason.solution.en}"


def _rule_lines(rules: tuple[Rule, ...]) -> Iterator[str]:
    if not rules:
        return
    yield "  规则：" if len(rules) == 1 else "  规则（下列之一）："
    for rule in rules:
        title = rule.title if rule.zh is None else f"{rule.zh} {rule.title}"
        yield f"    {rule.file}:{rule.line} {title}{'' if rule.clause is None else f'（{rule.clause}）'}"


def reason(code: str, texts: dict[str, Code], rules: tuple[Rule, ...]) -> Reason:
    """What `code` meant under those policies."""
    text = texts.get(code)
    if text is None:
        text = Code(title=_UNDECIDED if code == "policy.unavailable" else Words(code, code), solution=Words("", ""), clause="")
    return Reason(code, text.title, text.solution, text.clause, tuple(rule for rule in rules if code in rule.codes))

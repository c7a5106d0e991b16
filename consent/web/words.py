"""The words on the pages: one sentence per thing that a code stands for. Chinese first; the English says the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Words:
    """One text in both languages."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Chip:
    """A short state with its colour: good, warn, bad, plain or accent."""

    zh: str
    en: str
    tone: str


@dataclass(frozen=True, slots=True)
class Action:
    """What an institution may do with an item, as a name and as a sentence for whoever decides about it."""

    zh: str
    en: str
    means_zh: str
    means_en: str


ACTIONS: Mapping[str, Action] = {
    "query": Action("查询明细", "Query", "机构可以看到这些内容本身。", "The institution sees these contents."),
    "verify": Action(
        "核验", "Verify",
        "机构把它手里的内容拿来比对，只得到“一致”或“不一致”，看不到原始数据。",
        "The institution submits what it has and only learns whether it matches; it does not see the data.",
    ),
    "push": Action(
        "变化时推送", "Push",
        "这些内容有变化时，会主动发给机构。",
        "When these contents change, the institution is told.",
    ),
    "report": Action(
        "写入信用报告", "Report",
        "这些内容可以写入提供给机构的信用报告。",
        "These contents may go into a credit report for the institution.",
    ),
    "model": Action(
        "联合建模", "Modelling",
        "数据只参与模型计算，机构只得到计算结果，看不到明细。",
        "The data only enters a model; the institution gets the result and never the detail.",
    ),
    "collect": Action(
        "归集", "Collect",
        "由平台收集并保存这些内容；再提供给别人，还要另行授权。",
        "The platform gathers and keeps these contents; passing them on needs another authorization.",
    ),
}  # fmt: skip

KINDS: Mapping[str, Words] = {
    "bank": Words("银行", "bank"),
    "guarantor": Words("融资担保机构", "guarantor"),
    "insurer": Words("保险机构", "insurer"),
    "credit_service": Words("信用服务机构", "credit service institution"),
    "credit_bureau": Words("征信机构", "credit bureau"),
    "conduit": Words("数据通道机构", "data conduit"),
    "platform": Words("融资信用服务平台", "financing-credit platform"),
    "accounting_platform": Words("会计服务平台", "accounting-service platform"),
    "tax_gateway": Words("银税合作系统", "bank-tax gateway"),
    "department": Words("政府部门", "government department"),
}

ROLES: Mapping[str, Words] = {
    "operator": Words("平台运营人员", "platform operator"),
    "regulator": Words("监管人员", "supervisor"),
    "auditor": Words("审计人员", "auditor"),
}

STATES: Mapping[str, Chip] = {
    "active": Chip("有效", "active", "good"),
    "expired": Chip("已到期", "expired", "plain"),
    "suspended": Chip("暂停中", "on hold", "warn"),
    "revoked": Chip("已撤回", "revoked", "plain"),
}
"""States of a grant and of an item in it."""

EVENTS: Mapping[str, Words] = {
    "grant.approved": Words("同意授权", "Granted"),
    "grant.refused": Words("不同意", "Refused"),
    "grant.replaced": Words("以新的授权代替", "Replaced by a new consent"),
    "grant.merged": Words("增加授权项", "More granted"),
    "grant.narrowed": Words("撤回其中一部分", "Part of it revoked"),
    "grant.revoked": Words("撤回全部", "Revoked as a whole"),
    "grant.suspended": Words("暂停", "Suspended"),
    "grant.resumed": Words("恢复", "Resumed"),
}

ACTORS: Mapping[str, Words] = {
    "subject": Words("由您（或同企业的经办人）", "by you or your enterprise's operator"),
    "institution": Words("由机构", "by the institution"),
    "operator": Words("由平台", "by the platform"),
}

ITEM_OUTCOMES: Mapping[str, Chip] = {
    "permit": Chip("准许", "permitted", "good"),
    "permit_masked": Chip("准许一部分", "permitted in part", "good"),
    "verify_only": Chip("只准核验", "match result only", "good"),
    "model_only": Chip("只准建模", "modelling only", "good"),
    "deny": Chip("拒绝", "denied", "bad"),
}

OUTCOMES: Mapping[str, Chip] = {
    "full": Chip("全部准许", "permitted", "good"),
    "partial": Chip("部分准许", "permitted in part", "warn"),
    "none": Chip("拒绝", "denied", "bad"),
}

BASES: Mapping[str, Words] = {
    "open": Words("依法公开，无需授权", "open by law, no authorization needed"),
    "grant": Words("依据您的授权", "on your authorization"),
    "person": Words("依据本人的同意", "on the person's own consent"),
    "model": Words("依据已登记的模型", "through a registered model"),
}

LOAN_PHASES: Mapping[str, Words] = {
    "approved": Words("已批准", "approved"),
    "disbursed": Words("已放款", "disbursed"),
    "overdue": Words("逾期", "overdue"),
}
"""The phases in which a loan is open, so that revoking is worth a second thought."""

_PERIODS: Mapping[str, tuple[str, str]] = {"day": ("每天", "a day"), "month": ("每月", "a month")}


def frequency(most: int | None, per: str | None) -> Words:
    """How often an item may be used."""
    if most is None or per is None:
        return Words("期内不限次数", "no limit within the term")
    if per == "total":
        return Words("仅限 1 次", "once only") if most == 1 else Words(f"一共最多 {most} 次", f"at most {most} times in all")
    zh, en = _PERIODS[per]
    return Words(f"{zh}最多 {most} 次", f"at most {most} times {en}" if most > 1 else f"at most once {en}")


def used(times: int, per: str) -> Words:
    """How often an item was used in the present period."""
    zh, en = {"day": ("今天", "today"), "month": ("本月", "this month")}.get(per, ("至今", "so far"))
    return Words(f"{zh}已使用 {times} 次", f"used {times}× {en}")


def retention(days: int | None) -> Words:
    """How long the institution may keep what it got."""
    if days is None:
        return Words("未约定，按法律规定", "not agreed; as the law says")
    if days == 0:
        return Words("用后即删，不保存", "deleted after use")
    if days % 365 == 0:
        years = days // 365
        return Words(f"最多 {years} 年", f"at most {years} year{'s' if years > 1 else ''}")
    return Words(f"最多 {days} 天", f"at most {days} day{'s' if days > 1 else ''}")


def data_range(start: date | None) -> Words:
    """From when on the data may reach back."""
    if start is None:
        return Words("未限定起始时间", "no start date set")
    return Words(f"{start.year}年{start.month}月{start.day}日起的数据", f"data from {start:%Y-%m-%d} on")

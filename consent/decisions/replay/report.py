"""Runs over past decisions in words and tables, Chinese first, and as JSON."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec

from consent.catalogue.model import Catalogue
from consent.decisions.replay.outcome import Outcome, Row

SHOWN = 50


def dryrun_json(outcome: Outcome, revision: str) -> dict[str, Any]:
    """For programs; members may be added, none changes its meaning."""
    return {
        "v": 1,
        "revision": revision,
        "records": outcome.records,
        "judged": outcome.judged,
        "undecided": outcome.undecided,
        "unanswered": outcome.unanswered,
        "revisions": dict(sorted(outcome.revisions.items())),
        "changes": {change: outcome.changes[change] for change in ("lost", "gained", "changed", "explained")},
        "rows": [
            {"institution": institution, "item": item, **msgspec.to_builtins(row)}
            for (institution, item), row in _ordered(outcome)
            if row.examples
        ],
    }


def dryrun_text(outcome: Outcome, revision: str, catalogue: Catalogue) -> str:
    """For people: what would change, by institution and item."""
    changes = outcome.changes
    lines = [
        f"试运行 dry run  {revision}  重判 {outcome.judged} 次决定 decisions judged again"
        f"（账本 {outcome.records} 条记录 records；原规则 decided by {_revisions(outcome)}）",
        f"准予将变拒绝 permits to denials {changes['lost']}；拒绝将变准予 denials to permits {changes['gained']}；"
        f"准予内容变动 other permits {changes['changed']}；拒绝理由变动 other reasons {changes['explained']}",
    ]
    rows = [(place, row) for place, row in _ordered(outcome) if row.examples]
    if rows:
        lines += ["", *_table([_HEAD, *(_cells(place, row, catalogue) for place, row in rows[:SHOWN])])]
    if len(rows) > SHOWN:
        lines.append(f"另有 {len(rows) - SHOWN} 行 more rows (--json)")
    return "\n".join([*lines, *_left_out(outcome)])


_HEAD = (
    "机构 institution",
    "信息项 item",
    "查询 asked",
    "原准予 permits",
    "将拒绝 lost",
    "将准予 gained",
    "变动 changed",
    "拒绝原因 codes",
    "记录 records",
)


def _cells(place: tuple[str, str], row: Row, catalogue: Catalogue) -> tuple[str, ...]:
    institution, code = place
    item = catalogue.items.get(code)
    name = code if item is None else f"{code} {item.name.zh} {item.name.en}"
    codes = " ".join(f"{reason}×{count}" for reason, count in row.codes.most_common(3))
    numbers = (row.asked, row.permitted, row.lost, row.gained, row.changed)
    return (institution, name, *map(str, numbers), codes, " ".join(map(str, row.examples)))


def rerun_json(outcome: Outcome, *, policies: bool) -> dict[str, Any]:
    """For programs; members may be added, none changes its meaning."""
    return {
        "v": 1,
        "verdict": verdict(outcome, policies=policies),
        "records": outcome.records,
        "judged": outcome.judged,
        "undecided": outcome.undecided,
        "unanswered": outcome.unanswered,
        "unreadable": outcome.unreadable,
        "revisions": dict(sorted(outcome.revisions.items())),
        "changes": dict(sorted(outcome.changes.items())),
        "told": dict(sorted(outcome.told.items())),
        "findings": [{"index": index, "code": code, "message": message} for index, code, message in outcome.findings],
        "differences": [msgspec.to_builtins(difference) for difference in outcome.differences],
        "unchecked": outcome.unchecked,
    }


def verdict(outcome: Outcome, *, policies: bool) -> str:
    """`refuted` if a record was not allowed or a decision would be another; `unchecked` if something could not be judged."""
    if outcome.findings or outcome.differences:
        return "refuted"
    partly = outcome.unchecked or (policies and (outcome.unanswered or outcome.unreadable))
    return "unchecked" if partly else "verified"


def rerun_text(outcome: Outcome, *, policies: bool) -> str:
    """For people: the verdict in a sentence, then every record that is not as it must be."""
    head = {
        "verified": "一致 consistent",
        "refuted": "不一致 NOT consistent",
        "unchecked": "未能全部核对 could not check everything",
    }[verdict(outcome, policies=policies)]
    lines = [f"{head}：回放 {outcome.records} 条记录 records replayed"]
    if policies:
        lines[0] += (
            f"，按当时规则重判 {outcome.judged} 次决定 decisions judged again by the policies of their time（{_revisions(outcome)}）"
        )
    lines += [f"  第 {index} 条 record {index} [{code}] {message}" for index, code, message in outcome.findings[:SHOWN]]
    for difference in outcome.differences[:SHOWN]:
        recorded, answered = (msgspec.json.encode(side).decode() for side in (difference.recorded, difference.answered))
        lines.append(
            f"  第 {difference.index} 条 record {difference.index} {difference.item}: 记录 recorded {recorded}；重判 now {answered}"
        )
    hidden = max(len(outcome.findings) - SHOWN, 0) + max(sum(outcome.changes.values()) - SHOWN, 0)
    if hidden:
        lines.append(f"  另有 {hidden} 处 more (--json)")
    lines += [f"  未核对 not checked: {reason}" for reason in outcome.unchecked[:SHOWN]]
    return "\n".join([*lines, *(_left_out(outcome) if policies else [])])


def _left_out(outcome: Outcome) -> list[str]:
    """What the run could not or did not judge, and what it took on the record's own word."""
    told = outcome.told
    lines = [
        "以下事实只有数据库知道，按记录所载采用 facts that only the database knew are taken from the records: "
        f"未实名 not verified {told['not_verified']}；贷款状态 loans {told['loan']}；"
        f"终端 terminals {told['terminal']}；个人授权不计 persons' grants that did not count {told['uncounted']}"
    ]
    if told["proven"] or told["unproven"]:
        lines.append(
            f"其中实名与关联已由数据库佐证 real names and links borne out by the database: {told['proven']} 次决定 decisions；"
            f"因信息已删除无法佐证 erased, so not provable: {told['unproven']}；终端和贷款无从佐证 terminals and loans are not"
        )
    if outcome.undecided:
        lines.append(f"当时未能判定 nothing was decided then (policy.unavailable): {outcome.undecided}")
    if outcome.unanswered:
        lines.append(f"引擎未作答 no answer now: {len(outcome.unanswered)}，首条 first record {outcome.unanswered[0]}")
    lines += [f"规则 {revision} 本版本无法运行 this release cannot run it: {reason}" for revision, reason in outcome.unreadable.items()]
    return lines


def _ordered(outcome: Outcome) -> list[tuple[tuple[str, str], Row]]:
    """The hardest hit first."""
    return sorted(outcome.rows.items(), key=lambda entry: (-entry[1].lost, -entry[1].gained, -entry[1].changed, entry[0]))


def _revisions(outcome: Outcome) -> str:
    return "、".join(f"{revision} {count}" for revision, count in sorted(outcome.revisions.items())) or "-"


def _width(text: str) -> int:
    """Columns on a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

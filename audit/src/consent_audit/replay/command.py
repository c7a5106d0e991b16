"""The subcommand `replay`."""

import json
from typing import Any

from consent_audit.replay.run import Replayed

SHOWN = 200
"""Findings printed for people; `--json` has all that were kept."""


def text(replayed: Replayed, *, at: int | None) -> str:
    """For people: the sentence, then each record that was not allowed."""
    lines = [replayed.sentence()]
    checkpoint = replayed.report.checkpoint
    if checkpoint:
        lines.append(f"  origin {checkpoint.origin}, size {checkpoint.size}, read from {replayed.report.source}")
    lines += [f"  [{found.code}] {found.place}: {found.message}" for found in (*replayed.report.findings, *replayed.findings[:SHOWN])]
    hidden = max(len(replayed.findings) - SHOWN, 0) + replayed.machine.omitted
    if hidden:
        lines.append(f"  and {hidden} findings more (--json)")
    lines += [f"  not checked: {reason}" for reason in (*replayed.report.unchecked, *replayed.machine.unchecked)]
    if at is not None:
        lines.append(f"  state after record {at}:")
        lines.append(_pretty(replayed.at))
    return "\n".join(lines)


def _pretty(state: dict[str, Any] | None) -> str:
    return "  there is no such record" if state is None else json.dumps(state, ensure_ascii=False, indent=2)

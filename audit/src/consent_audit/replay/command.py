"""The subcommand `replay`."""

import argparse
import json
from collections.abc import Callable
from typing import Any

from consent_audit.policy import Policy
from consent_audit.replay.run import Replayed, replay
from consent_audit.report import Report
from consent_audit.sources import Source
from consent_audit.verify import Options

SHOWN = 200
"""Findings printed for people; `--json` has all that were kept."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What `replay` takes beyond what every run over a ledger does."""
    command.add_argument("--at", type=_index, metavar="INDEX", help="also show the whole state after the record of this index")


def _index(text_: str) -> int:
    if not (text_.isascii() and text_.isdigit() and len(text_) <= 15):
        raise argparse.ArgumentTypeError("an index is a whole number")
    return int(text_)


def examiner(at: int | None, found: list[Replayed]) -> Callable[[Source, Policy, Options], Report]:
    """`verify` for a command that also replays; what was found is put into `found`."""

    def examine(source: Source, trust: Policy, options: Options) -> Report:
        found.append(replay(source, trust, options, at=at))
        return found[0].report

    return examine


def show(replayed: Replayed, *, at: int | None, as_json: bool) -> str:
    """What the command prints."""
    return json.dumps(replayed.as_json(), ensure_ascii=False, indent=2) if as_json else text(replayed, at=at)


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

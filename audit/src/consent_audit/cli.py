"""The command `consent-audit`. Exit codes: 0 verified, 1 refuted, 2 usage, 3 could not check."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from consent_audit import state
from consent_audit.arguments import Usage, add_json, add_source, add_trust, token_of, trust_of
from consent_audit.errors import BadKey, BadPolicy, CannotCheck, Malformed, Refuted
from consent_audit.export import exporting
from consent_audit.policy import Policy
from consent_audit.prove import add_check_proof, add_prove
from consent_audit.replay.command import add_arguments as add_replay
from consent_audit.replay.command import examiner
from consent_audit.replay.command import show as show_replayed
from consent_audit.replay.run import Replayed
from consent_audit.report import Report, Verdict
from consent_audit.sources import Source, open_source
from consent_audit.verify import Options, verify
from consent_audit.witness_http import add_witness

USAGE = 2
_PROGRESS_SECONDS = 0.5


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="consent-audit", description="Verify a consent ledger without trusting who runs it.")
    commands = parser.add_subparsers(dest="command", required=True)
    epilog = "exit codes: 0 verified, 1 refuted, 2 usage, 3 could not check"
    command = commands.add_parser(
        "verify", help="re-hash and read every record, compare every tile, and hold the checkpoint against those seen before", epilog=epilog
    )
    _add_run(command)
    command.set_defaults(run=_verify)
    command = commands.add_parser(
        "export",
        help="verify a ledger and keep a copy of all that was verified, as a tar file that anybody can verify again",
        epilog=epilog,
    )
    _add_run(command)
    command.add_argument("file", type=Path, metavar="FILE", help="the archive to write")
    command.set_defaults(run=_export)
    command = commands.add_parser(
        "replay", help="verify a ledger, rebuild its state from the records, and name each permit that they do not cover", epilog=epilog
    )
    _add_run(command)
    add_replay(command)
    command.set_defaults(run=_replay)
    add_prove(commands)
    add_check_proof(commands)
    add_witness(commands)
    return parser


def _add_run(command: argparse.ArgumentParser) -> None:
    add_source(command)
    add_trust(command)
    add_json(command)
    command.add_argument(
        "--state", type=Path, metavar="FILE", help="where checkpoints are remembered (default: in the user's state directory)"
    )
    command.add_argument("--progress", action="store_true", help="tell the progress on standard error, also where that is no terminal")


def _verify(arguments: argparse.Namespace) -> int:
    return _show(_examine(arguments), arguments)


def _export(arguments: argparse.Namespace) -> int:
    with exporting(arguments.file) as copy:
        report = _examine(arguments, copy.add)
        if report.unchecked:
            copy.discard()
    return _show(report, arguments)


def _replay(arguments: argparse.Namespace) -> int:
    found: list[Replayed] = []
    report = _examine(arguments, run=examiner(arguments.at, found))
    if not found:
        return _show(report, arguments)
    print(show_replayed(found[0], at=arguments.at, as_json=arguments.json), flush=True)
    return found[0].verdict


def _show(report: Report, arguments: argparse.Namespace) -> int:
    print(json.dumps(report.as_json(), ensure_ascii=False, indent=2) if arguments.json else _text(report), flush=True)
    return report.verdict


def _examine(
    arguments: argparse.Namespace,
    keep: Callable[[str, bytes], None] | None = None,
    run: Callable[[Source, Policy, Options], Report] = verify,
) -> Report:
    trust, token, path = trust_of(arguments), token_of(arguments), arguments.state or state.default_path()
    report = Report("none", trust.logs[0].verifier.vkey if len(trust.logs) == 1 else None, trust)
    try:
        state.check_writable(path)
        with open_source(arguments.source, token) as source, _Progress(shown=arguments.progress or sys.stderr.isatty()) as progress:
            report = run(source, trust, Options(remember=partial(state.load, path), keep=keep, progress=progress))
        _remember(report, trust, path)
    except CannotCheck as error:
        report.unchecked.append(str(error))
    except Refuted as error:
        code = "checkpoint.malformed" if isinstance(error, Malformed) else "checkpoint.inconsistent"
        report.add(code, "checkpoint", str(error))
    return report


def _remember(report: Report, trust: Policy, path: Path) -> None:
    """Keep what was verified, also where only the witnesses are missing.

    Raises:
        CannotCheck: it could not be kept, so the next run could not hold the log to it.
        Refuted: another run meanwhile saw a different tree.
    """
    trusted = [log.verifier for log in trust.logs if log.verifier.vkey == report.key]
    if report.integrity is Verdict.VERIFIED and not report.findings and trusted and report.checkpoint and report.note:
        state.remember(path, trusted[0], report.note, report.checkpoint, report.current)


class _Progress:
    """A line on standard error that is written over, twice a second, and is gone at the end."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._began = self._next = time.monotonic()
        self._width = 0

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            print("\r" + " " * self._width + "\r", end="", file=sys.stderr, flush=True)

    def __call__(self, done: int, size: int) -> None:
        now = time.monotonic()
        if not self._shown or now < self._next:
            return
        self._next = now + _PROGRESS_SECONDS
        rate = done / (now - self._began) if now > self._began else 0
        left = f", {round((size - done) / rate)} s left" if rate else ""
        line = f"consent-audit: {done} of {size} records ({100 * done // size} %){left}"
        print("\r" + line.ljust(self._width), end="", file=sys.stderr, flush=True)
        self._width = max(self._width, len(line))


def _text(report: Report) -> str:
    lines = [report.sentence()]
    if report.checkpoint:
        lines.append(f"  origin {report.checkpoint.origin}, size {report.checkpoint.size}, read from {report.source}")
        lines.append(
            f"  integrity: {report.integrity.name.lower()} ({report.records} records, {report.tiles} tiles, {report.blobs} documents)"
        )
        lines.append(f"  completeness: {report.completeness}")
    if report.unknown_types:
        lines.append(
            f"  {report.unknown_types} records are of types that this version does not know; of them only form, chain and tree were checked"
        )
    lines += [f"  [{found.code}] {found.place}: {found.message}" for found in report.findings]
    if report.omitted:
        lines.append(f"  and {report.omitted} findings more")
    lines += [f"  not checked: {reason}" for reason in report.unchecked + report.incomplete]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except CannotCheck as error:
        print(f"consent-audit: {error}", file=sys.stderr)
    except (Usage, BadKey, BadPolicy) as error:
        print(f"consent-audit: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("consent-audit: interrupted; nothing is proven", file=sys.stderr)
    except Exception as error:  # noqa: BLE001 (an accident here must never leave with 1, which says that the ledger is bad)
        print(f"consent-audit: could not check ({type(error).__name__})", file=sys.stderr)
    return Verdict.UNCHECKED


if __name__ == "__main__":
    sys.exit(main())

"""The command `consent-audit`. Exit codes: 0 verified, 1 refuted, 2 usage, 3 could not check."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from consent_audit import state
from consent_audit.errors import BadKey, CannotCheck, Refuted
from consent_audit.note import ED25519, Verifier
from consent_audit.report import Report, Verdict
from consent_audit.sources import TOKEN, open_source
from consent_audit.verify import verify

USAGE = 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="consent-audit", description="Verify a consent ledger without trusting who runs it.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "verify",
        help="re-hash and read every record, compare every tile, and hold the checkpoint against those seen before",
        epilog="exit codes: 0 verified, 1 refuted, 2 usage, 3 could not check",
    )
    command.add_argument("source", metavar="SOURCE", help="http(s) URL of the ledger, published directory, or export file (tar)")
    command.add_argument("--key", required=True, metavar="VKEY", help="the log's verifier key: <name>+<id>+<base64>")
    command.add_argument(
        "--state", type=Path, metavar="FILE", help="where checkpoints are remembered (default: in the user's state directory)"
    )
    command.add_argument("--token", metavar="T", help="auditor's bearer token for entries and documents (or CONSENT_AUDIT_TOKEN)")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _verify(arguments: argparse.Namespace) -> int:
    token = arguments.token if arguments.token is not None else os.environ.get("CONSENT_AUDIT_TOKEN")
    try:
        verifier = Verifier.parse(arguments.key)
    except BadKey as error:
        return _usage(str(error))
    if verifier.key_type != ED25519:
        return _usage("verifier key: want the log's key, not a witness's")
    if token is not None and TOKEN.fullmatch(token) is None:
        return _usage("the token holds blanks or characters that a header cannot")
    report = _examine(arguments.source, verifier, arguments.state or state.default_path(), token)
    print(json.dumps(report.as_json(), ensure_ascii=False, indent=2) if arguments.json else _text(report), flush=True)
    return report.verdict


def _usage(message: str) -> int:
    print(f"consent-audit: {message}", file=sys.stderr)
    return USAGE


def _examine(source_text: str, verifier: Verifier, state_path: Path, token: str | None) -> Report:
    report = Report("none", verifier.vkey)
    try:
        seen = state.load(state_path, verifier)
        with open_source(source_text, token) as source:
            report = verify(source, verifier, seen=seen)
        if report.verdict is Verdict.VERIFIED and report.checkpoint and report.note:
            state.remember(state_path, verifier, report.note, report.checkpoint)
    except CannotCheck as error:
        report.unchecked.append(str(error))
    except Refuted as error:
        report.add("checkpoint.inconsistent", "checkpoint", str(error))
    return report


def _text(report: Report) -> str:
    lines = [report.sentence()]
    if report.checkpoint:
        lines.append(f"  origin {report.checkpoint.origin}, size {report.checkpoint.size}, read from {report.source}")
        lines.append(f"  checked: {report.records} records, {report.tiles} tiles, {report.blobs} documents")
    lines += [f"  [{found.code}] {found.place}: {found.message}" for found in report.findings]
    if report.omitted:
        lines.append(f"  and {report.omitted} findings more")
    lines += [f"  not checked: {reason}" for reason in report.unchecked]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        return _verify(_parser().parse_args(argv))
    except KeyboardInterrupt:
        print("consent-audit: interrupted; nothing is proven", file=sys.stderr)
    except Exception as error:  # noqa: BLE001 (an accident here must never leave with 1, which says that the ledger is bad)
        print(f"consent-audit: could not check ({type(error).__name__})", file=sys.stderr)
    return Verdict.UNCHECKED


if __name__ == "__main__":
    sys.exit(main())

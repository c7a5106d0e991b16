"""The commands `prove` and `check-proof`: one record of a ledger, and a proof that everybody can check without it."""

import argparse
import json
import os
import sys
from functools import cache
from pathlib import Path

from consent_audit.arguments import Usage, add_json, add_source, add_trust, token_of, trust_of
from consent_audit.encoding import parse_decimal
from consent_audit.errors import CannotCheck, MalformedRecord, Missing, Refuted, Unwitnessed
from consent_audit.hashing import HASH_BYTES, TILE_WIDTH, inclusion_path, root, tile_span
from consent_audit.note import MAX_NOTE_BYTES
from consent_audit.policy import Cosigned, Policy
from consent_audit.proof import MAX_PROOF_BYTES, Proof
from consent_audit.record import MAX_RECORD_BYTES, decode_record
from consent_audit.report import Verdict, when
from consent_audit.sources import Source, open_source
from consent_audit.tiles import MAX_BUNDLE_BYTES, bundle_decode, entries_path, first_entries, tile_decode, tile_path
from consent_audit.verify import WITNESSED


def prove(source: Source, policy: Policy, index: int) -> tuple[Proof, bytes]:
    """A proof of one record from a published ledger, already checked, and the record's bytes.

    Reads the checkpoint, one bundle and at most two tiles per level, however long the log is.

    Raises:
        Unwitnessed: no checkpoint of that record has the policy's quorum.
        CannotCheck: the ledger has no such record yet, or cannot be read.
        Refuted: what the ledger shows does not fit together.
    """
    note, size, newest = _checkpoint(source, policy, index)

    @cache
    def tile(level: int, n: int) -> list[bytes]:
        return tile_decode(*_read_tile(source, level, n, size, newest))

    def node(height: int, n: int) -> bytes:
        level, first, count = tile_span(height, n)
        at = first % TILE_WIDTH
        return root(tile(level, first // TILE_WIDTH)[at : at + count])

    bundle, width = _read_bundle(source, index // TILE_WIDTH, size, newest)
    entry = bundle_decode(bundle, width)[index % TILE_WIDTH]
    proof = Proof(index, tuple(inclusion_path(index, size, node)), note, entry)
    proof.verify(entry, policy)
    return proof, entry


def _checkpoint(source: Source, policy: Policy, index: int) -> tuple[str, int, int]:
    """The note to prove under and its size: the newest one, or the newest one that a quorum cosigned; and the newest size."""
    note = source.read("checkpoint", MAX_NOTE_BYTES)
    cosigned = policy.open(note)
    newest = cosigned.checkpoint.size
    if not cosigned.quorum:
        try:
            note = source.read(WITNESSED, MAX_NOTE_BYTES)
        except Missing as error:
            raise Unwitnessed("no checkpoint that the ledger shows has the cosignatures that the policy demands") from error
        cosigned = policy.demand(note)
    size = cosigned.checkpoint.size
    if index >= size:
        raise CannotCheck(
            f"the ledger shows {size} records{' that are vouched for' if size < newest else ''}, so none of index {index} yet"
        )
    return note.decode("utf-8"), size, newest


def _widths(n: int, *sizes: int) -> list[int]:
    """Widths under which tile `n` may be found, for the sizes of its level: an export holds only the newest partial tiles."""
    return list(dict.fromkeys([*(min(TILE_WIDTH, size - n * TILE_WIDTH) for size in sizes), TILE_WIDTH]))


def _read_tile(source: Source, level: int, n: int, size: int, newest: int) -> tuple[bytes, int]:
    widths = _widths(n, size >> (8 * level), newest >> (8 * level))
    body = _read_first(source, [tile_path(level, n, width) for width in widths], TILE_WIDTH * HASH_BYTES)
    return body[: widths[0] * HASH_BYTES], widths[0]


def _read_bundle(source: Source, n: int, size: int, newest: int) -> tuple[bytes, int]:
    widths = _widths(n, size, newest)
    body = _read_first(source, [entries_path(n, width) for width in widths], MAX_BUNDLE_BYTES)
    return first_entries(body, widths[0]), widths[0]


def _read_first(source: Source, paths: list[str], limit: int) -> bytes:
    """The first of these files that is there.

    Raises:
        Missing: none is; the first one is named.
    """
    missing: Missing | None = None
    for path in paths:
        try:
            return source.read(path, limit)
        except Missing as error:
            missing = missing or error
    raise missing or Missing("no file")


def add_prove(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The subcommand `prove`."""
    command = commands.add_parser("prove", help="make a proof of one record, which anybody can check without the ledger")
    add_source(command)
    command.add_argument("index", metavar="INDEX", help="the record's index")
    add_trust(command)
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write the proof (default: standard output)")
    command.add_argument("--without-record", action="store_true", help="leave the record's bytes out of the proof")
    command.set_defaults(run=_prove)


def add_check_proof(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The subcommand `check-proof`."""
    command = commands.add_parser("check-proof", help="check a proof of one record, without the ledger and without a network")
    command.add_argument("proof", type=Path, metavar="PROOF", help="the proof (.tlog-proof)")
    command.add_argument("--record", type=Path, metavar="FILE", help="the record's bytes (default: those that the proof file carries)")
    add_trust(command)
    add_json(command)
    command.set_defaults(run=_check_proof)


def _prove(arguments: argparse.Namespace) -> int:
    policy, token = trust_of(arguments), token_of(arguments)
    try:
        index = parse_decimal(arguments.index)
    except ValueError as error:
        raise Usage("INDEX is a plain decimal number") from error
    try:
        with open_source(arguments.source, token) as source:
            proof, _ = prove(source, policy, index)
        text = (Proof(proof.index, proof.path, proof.note) if arguments.without_record else proof).format()
        if arguments.output is None:
            sys.stdout.write(text)
        else:
            arguments.output.write_text(text, encoding="utf-8", newline="\n")
    except Refuted as error:
        print(f"REFUTED: {error}", file=sys.stderr)
        return Verdict.REFUTED
    except CannotCheck as error:
        print(f"COULD NOT CHECK: {error}", file=sys.stderr)
        return Verdict.UNCHECKED
    except OSError as error:
        print(f"COULD NOT CHECK: the proof cannot be written ({error.strerror})", file=sys.stderr)
        return Verdict.UNCHECKED
    return Verdict.VERIFIED


def _check_proof(arguments: argparse.Namespace) -> int:
    policy = trust_of(arguments)
    shown: dict[str, object] = {"code": None, "index": None, "origin": None, "size": None, "witnesses": [], "record": None}
    try:
        proof, entry, cosigned = _checked(arguments, policy)
    except Refuted as error:
        verdict, sentence, shown["code"] = Verdict.REFUTED, f"REFUTED: {error}.", error.code
    except CannotCheck as error:
        verdict, sentence, shown["code"] = Verdict.UNCHECKED, f"COULD NOT CHECK: {error}; nothing is proven either way.", error.code
    else:
        verdict, sentence = Verdict.VERIFIED, _sentence(proof, cosigned)
        checkpoint = cosigned.checkpoint
        shown |= {"index": proof.index, "origin": checkpoint.origin, "size": checkpoint.size, "record": entry.decode("utf-8")}
        shown["witnesses"] = [{"name": name, "time": when(cosigned.times[name])} for name in sorted(cosigned.times)]
    if arguments.json:
        answer = {"v": 1, "verdict": verdict.name.lower(), "exit_code": int(verdict), "sentence": sentence, **shown}
        print(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        print(sentence if shown["record"] is None else f"{sentence}\n{shown['record']}")
    return verdict


def _checked(arguments: argparse.Namespace, policy: Policy) -> tuple[Proof, bytes, Cosigned]:
    proof = Proof.parse(_read_file(arguments.proof, MAX_PROOF_BYTES))
    entry = proof.extra if arguments.record is None else _read_file(arguments.record, MAX_RECORD_BYTES)
    if entry is None:
        raise CannotCheck("the proof carries no record; name its file with --record")
    cosigned = proof.verify(entry, policy)
    if decode_record(entry).index != proof.index:
        raise MalformedRecord("the record carries another index than its place")
    return proof, entry, cosigned


def _sentence(proof: Proof, cosigned: Cosigned) -> str:
    checkpoint, names = cosigned.checkpoint, ", ".join(sorted(cosigned.times))
    anchored = "unanchored: no witness vouches that others are shown the same ledger"
    if names:
        anchored = f"anchored: the witnesses {names} vouched at {when(cosigned.witnessed_at or 0)} that others are shown the same ledger"
    proven = f"this is record {proof.index} of {checkpoint.origin}, under a signed checkpoint of {checkpoint.size} records"
    return f"VERIFIED: {proven}; {anchored}."


def _read_file(path: Path, limit: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise CannotCheck(f"{path} cannot be read ({error.strerror})") from error

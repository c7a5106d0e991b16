"""Arguments that the commands have in common, and what they mean."""

import argparse
import os
from pathlib import Path

from consent_audit.errors import BadPolicy
from consent_audit.note import COSIGNATURE, Verifier
from consent_audit.policy import MAX_POLICY_BYTES, Policy
from consent_audit.sources import TOKEN


class Usage(Exception):
    """The command was called wrongly; the text says how."""


def add_source(command: argparse.ArgumentParser) -> None:
    """The ledger to read, and the token that it may ask for."""
    command.add_argument("source", metavar="SOURCE", help="http(s) URL of the ledger, published directory, or export file (tar)")
    command.add_argument("--token", metavar="T", help="auditor's bearer token for entries and documents (or CONSENT_AUDIT_TOKEN)")


def add_trust(command: argparse.ArgumentParser) -> None:
    """Whom to trust: a key, or a policy of keys and witnesses."""
    trust = command.add_mutually_exclusive_group(required=True)
    trust.add_argument("--key", metavar="VKEY", help="the log's verifier key: <name>+<id>+<base64>")
    trust.add_argument(
        "--policy", type=Path, metavar="FILE", help="a tlog-policy: logs, witnesses, and how many of these must have cosigned"
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """For programs."""
    command.add_argument("--json", action="store_true", help="print the report as JSON")


def trust_of(arguments: argparse.Namespace) -> Policy:
    """The policy that the arguments name.

    Raises:
        Usage: the policy file cannot be read.
        BadKey, BadPolicy: it is not a key, or not a policy with a log.
    """
    if arguments.key is not None:
        verifier = Verifier.parse(arguments.key)
        if verifier.key_type == COSIGNATURE:
            raise Usage("verifier key: want the log's key, not a witness's")
        return Policy.trusting(verifier)
    try:
        with arguments.policy.open("rb") as file:
            policy = Policy.parse(file.read(MAX_POLICY_BYTES + 1))
    except OSError as error:
        raise Usage(f"the policy file cannot be read ({error.strerror})") from error
    if not policy.logs:
        raise BadPolicy("policy: names no log")
    return policy


def token_of(arguments: argparse.Namespace) -> str | None:
    """The auditor's token.

    Raises:
        Usage: it holds characters that a header cannot.
    """
    token = arguments.token if arguments.token is not None else os.environ.get("CONSENT_AUDIT_TOKEN")
    if token is not None and TOKEN.fullmatch(token) is None:
        raise Usage("the token holds blanks or characters that a header cannot")
    return token

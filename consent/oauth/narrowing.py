"""A token for less than its grant: `authorization_details` in a token request (RFC 9396 §6). No I/O.

What was granted is only ever narrowed here: a detail may be left out, and a detail may name fewer fields; every other member must be
as granted. The narrowing is kept beside the token and laid over the grant whenever the token is looked at, so that a token never
stands for more than both.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from consent import errors as domain
from consent.grants.details import parse_details
from consent.grants.model import Detail
from consent.oauth.errors import InvalidAuthorizationDetails

Narrowing: TypeAlias = Mapping[str, Sequence[str]]
"""Fields by identifier of the detail; details that it does not name are left out."""


def read_narrowing(granted: Sequence[Detail], body: str | None) -> Narrowing | None:
    """What a token request asks of its grant; None where it asks for all.

    Args:
        granted: the details that are active now.
        body: the request's `authorization_details`, each with the identifier that the grant gave it.

    Raises:
        InvalidAuthorizationDetails: malformed, or more than was granted in any member.
    """
    if body is None:
        return None
    try:
        wanted = parse_details(body)
    except domain.InvalidRequest as error:
        raise InvalidAuthorizationDetails(f"{error.en} At {error.member}.") from None
    of = {detail.name: detail for detail in granted}
    narrowing: dict[str, Sequence[str]] = {}
    for detail in wanted:
        whole = of.get(detail.identifier or "")
        if whole is None or not _is_within(detail, whole):
            raise InvalidAuthorizationDetails(
                "A token may stand for less than its grant, never for more: repeat granted details as they are, with all or fewer fields."
            )
        narrowing[whole.name] = detail.fields or whole.granted_fields
    return narrowing


def _is_within(wanted: Detail, whole: Detail) -> bool:
    if not set(wanted.fields or ()) <= set(whole.granted_fields):
        return False
    return msgspec.structs.replace(wanted, fields=whole.fields) == whole


def narrowed(details: Sequence[dict[str, Any]], narrowing: Narrowing | None) -> list[dict[str, Any]]:
    """The details of a grant, as `consent.grants.schema.authorization_details` gives them, under a token's narrowing."""
    if narrowing is None:
        return list(details)
    kept = []
    for detail in details:
        fields = set(narrowing.get(detail["identifier"], ()))
        if fields:
            kept.append(detail | {"fields": [code for code in detail["fields"] if code in fields]})
    return kept

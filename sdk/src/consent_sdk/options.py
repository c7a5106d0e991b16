"""Keyword arguments of `check`, typed once for both clients. Meanings as in `models.Check`."""

from collections.abc import Mapping, Sequence
from typing import TypedDict


class CheckOptions(TypedDict, total=False):
    """Everything that a check may say beside enterprise, items and purpose."""

    action: str
    fields: Mapping[str, Sequence[str]] | None
    product: str | None
    loan: str | None
    model: str | None
    processor: str | None
    via: Sequence[str]
    institution: str | None
    ticket: str | None
    request_id: str | None
    operator: str | None
    branch: str | None
    terminal_id: str | None
    channel: str | None
    data_from: str | None
    data_to: str | None
    claimed_fields: Sequence[str] | None

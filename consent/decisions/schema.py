"""The wire of checks: OpenID AuthZEN Authorization API 1.0 requests with our properties (design §4), read strictly.

A program that misspells a member must hear of it: a lost `ticket` or `data_from` would change what is asked. So unknown and repeated
members are refused everywhere, also at the top level and in `options`, where AuthZEN leaves room that we do not use. Names only ever
appear here, never values of data items. An unknown item, field, purpose or action is well-formed and becomes a recorded denial.

Bounds: 32 items a check, 64 fields an item, 64 evaluations a call, 64 KiB a check, 1 MiB a call.
"""

import datetime
import functools
import hashlib
import json
import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from consent.errors import InvalidRequest
from consent.parties.model import parse_uscc

MAX_CHECK_BYTES = 64 * 1024
MAX_CALL_BYTES = 1024 * 1024

Word = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
"""A code or a registered id: whatever names one of ours has this shape, known or not."""
Text = Annotated[str, Meta(pattern=r"\A[!-~]{1,128}\Z")]
"""The caller's own reference: visible ASCII. It never enters the ledger but as a salted digest."""
Uscc = Annotated[str, Meta(min_length=18, max_length=18)]
Day = datetime.date
Fields = Annotated[list[Word], Meta(min_length=1, max_length=64)]

_T = TypeVar("_T")
_checked_uscc = functools.lru_cache(maxsize=65536)(parse_uscc)


class _Wire(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class SubjectProperties(_Wire, frozen=True):
    """Who at the institution asks. No decision depends on it; the ledger holds it as a salted digest, opened in a dispute."""

    operator: Text | None = None
    branch: Text | None = None


class Subject(_Wire, frozen=True):
    """The institution that would see the data."""

    type: Literal["institution"]
    id: Word
    properties: SubjectProperties | None = None


class ActionProperties(_Wire, frozen=True):
    """Why, and on whose behalf else."""

    purpose: Word
    product: Word | None = None
    loan: Text | None = None
    model: Word | None = None
    processor: Word | None = None
    via: Annotated[list[Word], Meta(max_length=8)] = []


class Action(_Wire, frozen=True):
    """query, verify, push, report, model or collect."""

    name: Word
    properties: ActionProperties


class ResourceProperties(_Wire, frozen=True):
    """Which items, and which of their fields; an item that `fields` does not name is asked for as a whole."""

    items: Annotated[list[Word], Meta(min_length=1, max_length=32)]
    fields: dict[Word, Fields] | None = None


class Resource(_Wire, frozen=True):
    """The enterprise, by 统一社会信用代码 (GB 32100-2015)."""

    type: Literal["enterprise"]
    id: Uscc
    properties: ResourceProperties


class Context(_Wire, frozen=True):
    """Circumstances. `claimed_fields` are the codes of fields whose values the caller wants compared, never the values."""

    request_id: Text | None = None
    ticket: Text | None = None
    terminal_id: Text | None = None
    channel: Word | None = None
    data_from: Day | None = None
    data_to: Day | None = None
    claimed_fields: Annotated[list[Word], Meta(min_length=1, max_length=256)] | None = None


class Evaluation(_Wire, frozen=True):
    """One check. AuthZEN 1.0, access evaluation request."""

    subject: Subject
    action: Action
    resource: Resource
    context: Context = Context()


class PartialEvaluation(_Wire, frozen=True):
    """One of several: what is absent comes whole from the call's defaults."""

    subject: Subject | None = None
    action: Action | None = None
    resource: Resource | None = None
    context: Context | None = None


Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]


class Options(_Wire, frozen=True):
    """How several checks are run."""

    evaluations_semantic: Semantic = "execute_all"


class Evaluations(PartialEvaluation, frozen=True):
    """Several checks. AuthZEN 1.0, access evaluations request; without `evaluations` it is one check."""

    evaluations: Annotated[list[PartialEvaluation], Meta(max_length=64)] = []
    options: Options = Options()


class DeliveredItem(_Wire, frozen=True):
    """What was served of one item."""

    item: Word
    fields: Annotated[list[Word], Meta(max_length=64)]


class Delivery(_Wire, frozen=True):
    """What a platform really served under a decision: at most what was decided, possibly nothing."""

    decision: Text
    items: Annotated[list[DeliveredItem], Meta(max_length=32)]


_SHAPES = (Evaluation, Subject, SubjectProperties, Action, ActionProperties, Resource, ResourceProperties, Context, Evaluations, Options)
_OURS = frozenset(name for shape in (*_SHAPES, Delivery, DeliveredItem) for name in shape.__struct_fields__)
_INDEX = re.compile(r"\[(?:[0-9]+|\.\.\.)\]")
_NAME = re.compile(r"[^.]+")

_evaluation = msgspec.json.Decoder(Evaluation)
_evaluations = msgspec.json.Decoder(Evaluations)
_delivery = msgspec.json.Decoder(Delivery)
_canonical = msgspec.json.Encoder(order="deterministic")


def decode_evaluation(body: bytes) -> Evaluation:
    """One well-formed check.

    Raises:
        InvalidRequest: not JSON of this shape; `member` is the path at fault.
    """
    evaluation = _decode(body, _evaluation)
    _check(evaluation, "")
    return evaluation


def decode_evaluations(body: bytes) -> tuple[list[Evaluation], Semantic, bool]:
    """Several well-formed checks with the defaults merged in, how to run them, and whether the caller asked for a list.

    Raises:
        InvalidRequest: one of them is malformed, or two share a request_id.
    """
    call = _decode(body, _evaluations)
    if not call.evaluations:
        return [_merged(call, call, "")], call.options.evaluations_semantic, False
    merged = [_merged(part, call, f"evaluations[{n}].") for n, part in enumerate(call.evaluations)]
    seen: set[str] = set()
    for n, evaluation in enumerate(merged):
        request_id = evaluation.context.request_id
        if request_id is not None and request_id in seen:
            raise _invalid(f"evaluations[{n}].context.request_id", "同一次调用中 request_id 重复。", "Two evaluations share a request_id.")
        if request_id is not None:
            seen.add(request_id)
    return merged, call.options.evaluations_semantic, True


def decode_delivery(body: bytes) -> Delivery:
    """One well-formed report of a delivery.

    Raises:
        InvalidRequest: not JSON of this shape, or an item or field stands twice.
    """
    delivery = _decode(body, _delivery)
    _unique([part.item for part in delivery.items], "items")
    for n, part in enumerate(delivery.items):
        _unique(part.fields, f"items[{n}].fields")
    return delivery


def canonical_hash(evaluation: Evaluation) -> bytes:
    """SHA-256 over one spelling of the request, so that the same request_id with another request is noticed."""
    return hashlib.sha256(_canonical.encode(evaluation)).digest()


def _merged(part: PartialEvaluation, defaults: PartialEvaluation, path: str) -> Evaluation:
    subject, action, resource = part.subject or defaults.subject, part.action or defaults.action, part.resource or defaults.resource
    if subject is None or action is None or resource is None:
        missing = "subject" if subject is None else "action" if action is None else "resource"
        raise _invalid(f"{path}{missing}", "缺少必需的成员。", "A required member is missing.")
    evaluation = Evaluation(subject=subject, action=action, resource=resource, context=part.context or defaults.context or Context())
    _check(evaluation, path)
    return evaluation


def _check(evaluation: Evaluation, path: str) -> None:
    """The rules between members, which types cannot state."""
    asked, context = evaluation.resource.properties, evaluation.context
    try:
        _checked_uscc(evaluation.resource.id)
    except InvalidRequest as error:
        raise InvalidRequest(error.zh, error.en, code=error.code, member=f"{path}resource.id") from None
    _unique(asked.items, f"{path}resource.properties.items")
    for item, fields in (asked.fields or {}).items():
        if item not in asked.items:
            raise _invalid(
                f"{path}resource.properties.fields", "fields 中有未查询的数据项。", "`fields` names an item that is not asked for."
            )
        _unique(fields, f"{path}resource.properties.fields")
    for field in context.claimed_fields or ():
        if field.rpartition(".")[0] not in asked.items:
            raise _invalid(
                f"{path}context.claimed_fields",
                "claimed_fields 中有不属于所查数据项的字段。",
                "A claimed field belongs to no item asked for.",
            )
    _unique(context.claimed_fields or [], f"{path}context.claimed_fields")
    _unique(evaluation.action.properties.via, f"{path}action.properties.via")
    if context.data_from is not None and context.data_to is not None and context.data_from > context.data_to:
        raise _invalid(f"{path}context.data_to", "数据期间的截止日期早于起始日期。", "The data range ends before it begins.")


def _unique(values: list[str], path: str) -> None:
    if len(set(values)) != len(values):
        raise _invalid(path, "列表中有重复的值。", "A value stands twice in the list.")


def _decode(body: bytes, decoder: "msgspec.json.Decoder[_T]") -> _T:
    try:
        value = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(_path(str(error)), "请求不符合接口格式。", "The request does not have the shape that this endpoint takes.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _invalid("", "请求不是有效的 JSON。", "The request is not valid JSON.") from None
    # Every string of the text stands in the value again, unless a member was repeated, written as null or escaped; only then look closer.
    if b"\\" in body or body.count(b'"') != _canonical.encode(value).count(b'"'):
        json.loads(body, object_pairs_hook=_refuse_repeated)
    return value


def _path(message: str) -> str:
    """The place that msgspec names; of its messages only the names of our own members are let through, never what the caller wrote."""
    reason, _, place = message.rpartition(" - at `$") if " - at `$" in message else (message, "", "")
    missing = reason.partition("missing required field `")[2].rstrip("`")
    path = ".".join(filter(None, (place.rstrip("`").lstrip("."), missing)))
    # An unknown member's name is the caller's and may be written so as to look like a place.
    return path if _OURS.issuperset(_NAME.findall(_INDEX.sub("", path))) else ""


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _invalid("", "JSON 对象中有重复的成员。", "A member stands twice in a JSON object.")


def _invalid(path: str, zh: str, en: str) -> InvalidRequest:
    return InvalidRequest(zh, en, member=path or None)

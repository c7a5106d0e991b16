"""The sample data platform: redeems a bank's permit before it serves, serves what the decision lets it and as it demands, and reports it.

Its "data" are placeholders: no value of a data item exists in this repository.
"""

from typing import Any

import msgspec
from litestar import Litestar, Response, post
from litestar.params import JSONBody

from consent_sdk import AsyncConsentClient, CallFailed, ServingRefused, Undecided, serve_decision

PLACEHOLDER = "（示例数据）"


class DataRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bank sends: who it is, for whom, and the ticket that the consent service gave it."""

    institution: str
    enterprise: str
    items: list[str]
    purpose: str
    product: str
    ticket: str


def platform_app(client: AsyncConsentClient) -> Litestar:
    """The platform as an ASGI application around one SDK client."""

    @post("/data")
    async def data(data: JSONBody[DataRequest]) -> Response[Any]:
        try:
            decision = await client.check(
                data.enterprise, data.items, data.purpose, product=data.product, institution=data.institution, ticket=data.ticket
            )
            if not decision:
                return Response({"error": "denied", "codes": decision.codes, "solution": decision.solution_zh}, status_code=403)
            held = {item: [dict.fromkeys(fields, PLACEHOLDER)] for item, fields in decision.permitted.items()}
            served = serve_decision(decision, held)
            await client.deliver(decision, {item: one.fields for item, one in served.items()})
        except (Undecided, CallFailed, ServingRefused) as error:
            return Response({"error": str(error)}, status_code=502)
        return Response({"decision": decision.id, "items": {item: one.rows[0] for item, one in served.items()}}, status_code=200)

    async def close(_: Litestar) -> None:
        await client.close()

    return Litestar([data], on_shutdown=[close], openapi_config=None, logging_config=None)

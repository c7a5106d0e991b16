"""The regulator's access report: what is counted, and how it becomes JSON and CSV. No I/O.

Counts come from ledger records alone, over a range that a signed checkpoint covers, so an auditor can recompute them from
an export (发改办财金〔2022〕299号 六; 国办发〔2021〕52号 二(六) "将相关信息使用情况及时反馈数据提供单位").
"""

import csv
import io
from collections.abc import Iterator
from typing import Literal

import msgspec

from consent.clock import format_instant
from consent.reports.period import Period

ReportFormat = Literal["page", "json", "csv"]
_HEAD = (
    "section", "institution", "institution_name", "product", "product_name", "purpose", "purpose_name", "item", "item_name", "measure",
    "value",
)  # fmt: skip


class ItemRow(msgspec.Struct, frozen=True, kw_only=True):
    """One institution, purpose and item.

    permits      items of checks that were answered with anything but deny
    accesses     those of them that a data platform redeemed or asked itself: the nearest the ledger knows to a delivery
    denials      items of checks that were denied
    grants       times the item was granted to the institution for the purpose
    """

    institution: str
    purpose: str
    item: str
    permits: int
    accesses: int
    denials: int
    grants: int


class InstitutionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One institution: whole checks by outcome, requests and changes of grants.

    accesses   checks that gave something and that a data platform redeemed or asked itself; a bank's own check and the
               redemption of its ticket are two checks and one access
    """

    institution: str
    checks: int
    full: int
    partial: int
    none: int
    accesses: int
    requests: int
    requests_refused: int
    grants: int
    grants_refused: int
    narrowed: int
    revoked: int


class CodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """How often one institution met one denial code."""

    institution: str
    code: str
    denials: int


class ProductRow(msgspec.Struct, frozen=True, kw_only=True):
    """How far an institution's requests for a product went beyond what is needed (the score of each request is 0 to 100).

    product       None: the requests name none; `unknown`: one that the institution had not registered
    requests      requests that name the product, those refused included; one that names two products counts for each
    refused       those that were refused as a whole
    excessive     those whose score is not 0
    excess_total  the sum of the scores; the mean is this by `requests`
    excess_max    the highest score
    """

    institution: str
    product: str | None
    requests: int
    refused: int
    excessive: int
    excess_total: int
    excess_max: int

    @property
    def excess_mean(self) -> str:
        """With one decimal, for people."""
        return f"{self.excess_total / self.requests:.1f}"


class LedgerRange(msgspec.Struct, frozen=True, kw_only=True):
    """The records that were read: first ≤ index ≤ last (both None for an empty range), and the signed checkpoint over them."""

    first: int | None
    last: int | None
    checkpoint: str


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Chinese names of every institution, purpose, item, code and product that the tables hold; `unknown` is a name like the others.

    products  by institution, then by code
    """

    institutions: dict[str, str]
    products: dict[str, dict[str, str]]
    purposes: dict[str, str]
    items: dict[str, str]
    codes: dict[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The access report over a period."""

    report: str
    period: Period
    ledger: LedgerRange
    institutions: tuple[InstitutionRow, ...]
    products: tuple[ProductRow, ...]
    items: tuple[ItemRow, ...]
    codes: tuple[CodeRow, ...]
    names: Names

    def total(self, measure: str) -> int:
        """The sum of one of the institutions' columns."""
        return sum(getattr(row, measure) for row in self.institutions)

    def to_json(self) -> bytes:
        """The report as one JSON object; instants in RFC 3339, UTC."""
        body = {
            "report": self.report,
            "from": format_instant(self.period.start),
            "to": format_instant(self.period.end),
            "ledger": self.ledger,
            "institutions": self.institutions,
            "products": self.products,
            "items": self.items,
            "codes": self.codes,
            "names": self.names,
        }
        return msgspec.json.encode(body)

    def to_csv(self) -> bytes:
        """One table with a leading column that names the section; UTF-8 with a byte order mark, as spreadsheets expect."""
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(_HEAD)
        for row in self._csv_rows():
            writer.writerow([_cell(value) for value in row])
        return b"\xef\xbb\xbf" + out.getvalue().encode()

    def _csv_rows(self) -> Iterator[list[str | int]]:
        names, ledger = self.names, self.ledger
        about = {
            "report": self.report,
            "from": format_instant(self.period.start),
            "to": format_instant(self.period.end),
            "first_record": "" if ledger.first is None else ledger.first,
            "last_record": "" if ledger.last is None else ledger.last,
        }
        for measure, value in about.items():
            yield ["report", *[""] * 8, measure, value]
        for row in self.institutions:
            for measure, count in msgspec.structs.asdict(row).items():
                if measure != "institution":
                    yield ["institution", row.institution, names.institutions[row.institution], *[""] * 6, measure, count]
        for product in self.products:
            code = product.product or ""
            who = [product.institution, names.institutions[product.institution], code, names.products[product.institution].get(code, "")]
            for measure in ("requests", "refused", "excessive", "excess_total", "excess_max"):
                yield ["product", *who, *[""] * 4, measure, getattr(product, measure)]
        for item in self.items:
            who = [item.institution, names.institutions[item.institution], "", ""]
            what = [item.purpose, names.purposes[item.purpose], item.item, names.items[item.item]]
            for measure in ("permits", "accesses", "denials", "grants"):
                yield ["item", *who, *what, measure, getattr(item, measure)]
        for denied in self.codes:
            yield ["code", denied.institution, names.institutions[denied.institution], *[""] * 6, denied.code, denied.denials]


def _cell(value: str | int) -> str | int:
    """A value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.lstrip()[:1] in {"=", "+", "-", "@", "＝", "＋", "－", "＠"} else value

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


class LedgerRange(msgspec.Struct, frozen=True, kw_only=True):
    """The records that were read: first ≤ index ≤ last (both None for an empty range), and the signed checkpoint over them."""

    first: int | None
    last: int | None
    checkpoint: str


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Chinese names of every institution, purpose, item and code that the tables hold; `unknown` is a name like the others."""

    institutions: dict[str, str]
    purposes: dict[str, str]
    items: dict[str, str]
    codes: dict[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The access report over a period."""

    report: str
    period: Period
    ledger: LedgerRange
    institutions: tuple[InstitutionRow, ...]
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
            "items": self.items,
            "codes": self.codes,
            "names": self.names,
        }
        return msgspec.json.encode(body)

    def to_csv(self) -> bytes:
        """One table with a leading column that names the section; UTF-8 with a byte order mark, as spreadsheets expect."""
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["section", "institution", "institution_name", "purpose", "purpose_name", "item", "item_name", "measure", "value"])
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
            yield ["report", "", "", "", "", "", "", measure, value]
        for row in self.institutions:
            for measure, count in msgspec.structs.asdict(row).items():
                if measure != "institution":
                    yield ["institution", row.institution, names.institutions[row.institution], "", "", "", "", measure, count]
        for item in self.items:
            who = [item.institution, names.institutions[item.institution]]
            what = [item.purpose, names.purposes[item.purpose], item.item, names.items[item.item]]
            for measure in ("permits", "accesses", "denials", "grants"):
                yield ["item", *who, *what, measure, getattr(item, measure)]
        for code in self.codes:
            yield ["code", code.institution, names.institutions[code.institution], "", "", "", "", code.code, code.denials]


def _cell(value: str | int) -> str | int:
    """A value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.lstrip()[:1] in {"=", "+", "-", "@", "＝", "＋", "－", "＠"} else value

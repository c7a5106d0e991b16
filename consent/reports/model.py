"""The regulator's access report: what is counted, and how it becomes JSON and CSV. No I/O.

Counts come from ledger records alone, over a range that a signed checkpoint covers, so an auditor can recompute them from
an export (发改办财金〔2022〕299号 六; 国办发〔2021〕52号 二(六) "将相关信息使用情况及时反馈数据提供单位").
"""

import csv
import io
from datetime import datetime
from typing import Literal

import msgspec

from consent.clock import format_instant

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
    """One institution: whole checks by outcome, requests and changes of grants."""

    institution: str
    checks: int
    full: int
    partial: int
    none: int
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


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The access report over start ≤ time < end."""

    report: str
    start: datetime
    end: datetime
    ledger: LedgerRange
    institutions: tuple[InstitutionRow, ...]
    items: tuple[ItemRow, ...]
    codes: tuple[CodeRow, ...]
    names: dict[str, str]

    def to_json(self) -> bytes:
        """The report as one JSON object; instants in RFC 3339, UTC."""
        body = {
            "report": self.report,
            "from": format_instant(self.start),
            "to": format_instant(self.end),
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
        last = "" if self.ledger.last is None else str(self.ledger.last)
        first = "" if self.ledger.first is None else str(self.ledger.first)
        writer.writerow(["section", "institution", "name", "purpose", "item", "item_name", "measure", "count"])
        writer.writerow(["ledger", "", "", "", "", "", "first", first])
        writer.writerow(["ledger", "", "", "", "", "", "last", last])
        for row in self.institutions:
            for measure, count in msgspec.structs.asdict(row).items():
                if measure != "institution":
                    writer.writerow(["institution", row.institution, self._name(row.institution), "", "", "", measure, count])
        for item in self.items:
            for measure in ("permits", "accesses", "denials", "grants"):
                cells = [item.institution, self._name(item.institution), item.purpose, item.item, self._name(item.item)]
                writer.writerow(["item", *cells, measure, getattr(item, measure)])
        for code in self.codes:
            writer.writerow(["code", code.institution, self._name(code.institution), "", "", "", code.code, code.denials])
        return b"\xef\xbb\xbf" + out.getvalue().encode()

    def _name(self, key: str) -> str:
        """A label that a spreadsheet cannot take for a formula."""
        name = self.names.get(key, "")
        return f"'{name}" if name[:1] in {"=", "+", "-", "@", "\t", "\r"} else name

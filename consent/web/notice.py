"""The risk notice that must be read and acknowledged before anything is granted (国办发〔2021〕52号 附件 注3: 充分告知企业相关风险).

Each version is one file under notices/, named by its month and never edited once it was shown to anybody: its SHA-256 stands in
every grant that followed it, and its bytes go into the ledger as a blob, so that anyone can say years later what was on the screen.
A change of wording is a new file and a new `CURRENT`.
"""

import hashlib
from functools import cache
from pathlib import Path

import msgspec

CURRENT = "2026-11"
MEDIA_TYPE = "application/json"
_FOLDER = Path(__file__).parent / "notices"


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One text in both languages; the Chinese one counts."""

    zh: str
    en: str


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One risk, with a heading that can be skimmed."""

    title: Text
    zh: str
    en: str


class Acknowledgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sentence beside the box that must be ticked: for whoever acts for an enterprise, and for a person's own consent."""

    enterprise: Text
    person: Text


class Wording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a notice file holds."""

    version: str
    title: Text
    lead: Text
    points: list[Point]
    acknowledgement: Acknowledgement


class RiskNotice(msgspec.Struct, frozen=True):
    """A notice as shown: its wording, the exact bytes of its file and their SHA-256."""

    wording: Wording
    body: bytes
    sha256: bytes

    @property
    def version(self) -> str:
        """The version, a month."""
        return self.wording.version


@cache
def current() -> RiskNotice:
    """The notice in force.

    Raises:
        ValueError: the file's name and its version differ.
    """
    body = (_FOLDER / f"{CURRENT}.json").read_bytes()
    wording = msgspec.json.decode(body, type=Wording)
    if wording.version != CURRENT:
        raise ValueError("the notice's file name and its version differ")
    return RiskNotice(wording, body, hashlib.sha256(body).digest())

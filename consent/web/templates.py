"""Jinja templates of all pages: one environment, escaped always, and an undefined name is an error rather than a blank."""

import base64
import hashlib
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.template import TemplateConfig

from consent.clock import SHANGHAI

_HERE = Path(__file__).parent
_FOLDERS = [_HERE / "html", _HERE.parent / "reports" / "html"]


@cache
def static_files() -> dict[str, bytes]:
    """The files under /static by name, read once: what is not in here does not exist, whatever the path says."""
    return {path.name: path.read_bytes() for path in sorted((_HERE / "static").iterdir()) if path.is_file()}


def asset(name: str) -> str:
    """The address of a static file, changed by every change of its content, so that browsers may keep it for good."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(static_files()[name]).digest()[:9]).decode()
    return f"/static/{name}?v={digest}"


def moment(at: datetime) -> str:
    """2026年11月20日 16:05, in Asia/Shanghai."""
    local = at.astimezone(SHANGHAI)
    return f"{day(local.date())} {local:%H:%M}"


def moment_en(at: datetime) -> str:
    """20 Nov 2026, 16:05, in Asia/Shanghai."""
    local = at.astimezone(SHANGHAI)
    return f"{day_en(local.date())}, {local:%H:%M}"


def day(at: date | datetime) -> str:
    """2026年11月20日; of an instant, the day in Asia/Shanghai."""
    if isinstance(at, datetime):
        at = at.astimezone(SHANGHAI).date()
    return f"{at.year}年{at.month}月{at.day}日"


def day_en(at: date | datetime) -> str:
    """20 Nov 2026; month names do not depend on the machine's locale."""
    if isinstance(at, datetime):
        at = at.astimezone(SHANGHAI).date()
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@cache
def environment() -> Environment:
    """The one environment, with the filters and names that templates use."""
    made = Environment(loader=FileSystemLoader(_FOLDERS), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters.update(moment=moment, moment_en=moment_en, day=day, day_en=day_en)
    made.globals.update(asset=asset)
    return made


def config() -> TemplateConfig[JinjaTemplateEngine]:
    """For handlers that answer with Litestar's `Template`; every page extends base.html."""
    return TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment()))


def page(name: str, *, status: int = 200, headers: dict[str, str] | None = None, **context: Any) -> Response[str]:
    """A rendered page."""
    body = environment().get_template(name).render(context)
    return Response(body, status_code=status, headers=headers, media_type="text/html")

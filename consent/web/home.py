"""The home page, the catalogue for people, what problem types mean, and the few static files."""

from typing import Any

from litestar import Response, get
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncEngine

from consent.catalogue.model import Catalogue
from consent.db import read
from consent.errors import NotFound
from consent.parties import store as parties
from consent.parties.access import SubjectVisitor, Visitor
from consent.web import words
from consent.web.access import Injected
from consent.web.history import count_recent
from consent.web.my_grants import count_active
from consent.web.problems import PROBLEMS
from consent.web.templates import page, static_files

_TYPES = {".css": "text/css", ".svg": "image/svg+xml"}


@get("/")
async def show_home(engine: Injected[AsyncEngine], guest: Injected[Visitor | None]) -> Response[str]:
    """What this is, or for whoever is signed in, what there is for her."""
    if guest is None:
        return page("home.html")
    if guest.role is not None:
        return page("home.html", visitor=guest, role=words.ROLES[guest.role])
    visitor = SubjectVisitor.of(guest)
    async with read(engine) as connection:
        subject = await parties.subject(connection, visitor.subject_id)
        active = await count_active(connection, visitor)
        asked = await count_recent(connection, visitor)
    return page("home.html", visitor=visitor, subject=subject, active=active, asked=asked)


@get("/data")
async def show_catalogue(catalogue: Injected[Catalogue], guest: Injected[Visitor | None]) -> Response[str]:
    """The catalogue as people read it; programs read GET /catalogue."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for item in catalogue.items.values():
        groups.setdefault((item.list, item.category.number), []).append(item)
    titles = {edition.list: edition.title for edition in catalogue.lists}
    return page("data.html", visitor=guest, groups=groups, titles=titles, catalogue=catalogue)


@get("/problems")
async def show_problems(guest: Injected[Visitor | None]) -> Response[str]:
    """Where the `type` of problem details points."""
    return page("problems.html", visitor=guest, problems=list(PROBLEMS.values()))


@get("/static/{name:str}")
async def static_file(name: FromPath[str]) -> Response[bytes]:
    """A static file. Its address changes with its content (templates.asset), so it may be kept for good."""
    body = static_files().get(name)
    if body is None:
        raise NotFound("没有这个文件。", "There is no such file.")
    kind = _TYPES[name[name.rindex(".") :]]
    return Response(body, media_type=kind, headers={"cache-control": "public, max-age=31536000, immutable"})


handlers = [show_home, show_catalogue, show_problems, static_file]

"""The enterprise's browser in the tour: keeps cookies, follows redirects within the service, fills in real forms.

Nothing is posted that the page did not offer: a form is found by the button pressed, its hidden fields are sent back as
they came, and a tick box or input that is not there is an error.
"""

from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from typing import Self
from urllib.parse import urlencode, urljoin

import httpx


class PageError(Exception):
    """The page is not what a person would need to go on."""


class Form:
    """One form of a page: its target, its fields as they stand, and its buttons."""

    def __init__(self, action: str, method: str) -> None:
        self.action = action
        self.method = method.upper()
        self.fields: list[tuple[str, str]] = []
        self.boxes: set[tuple[str, str]] = set()
        self.inputs: set[str] = set()
        self.buttons: set[tuple[str, str]] = set()


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self._open: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(values.get("href", ""))
        if tag == "form":
            self._open = Form(values.get("action", ""), values.get("method", "get"))
            self.forms.append(self._open)
        elif self._open is not None and tag in {"input", "button", "textarea", "select"}:
            self._field(self._open, tag, values)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    @staticmethod
    def _field(form: Form, tag: str, values: Mapping[str, str]) -> None:
        name, kind = values.get("name", ""), values.get("type", "submit" if tag == "button" else "text")
        if kind in {"submit", "image"}:
            form.buttons.add((name, values.get("value", "")))
        elif not name:
            return
        elif kind in {"checkbox", "radio"}:
            form.boxes.add((name, values.get("value", "on")))
            if "checked" in values:
                form.fields.append((name, values.get("value", "on")))
        elif kind == "hidden":
            form.fields.append((name, values.get("value", "")))
        else:
            form.inputs.add(name)


class Browser:
    """A person's browser at one service. Redirects to other origins are not followed but kept in `left_to`."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._http = httpx.Client(timeout=20, follow_redirects=False, headers={"Accept": "text/html"})
        self.url = origin
        self.text = ""
        self.status = 0
        self.left_to: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def open(self, url: str) -> Self:
        """Go to a page, following redirects inside the service."""
        return self._go("GET", urljoin(self._origin + "/", url))

    def _go(self, method: str, url: str, data: list[tuple[str, str]] | None = None) -> Self:
        self.left_to = None
        for _ in range(10):
            content = urlencode(data) if data is not None else None
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self._origin} if content is not None else {}
            reply = self._http.request(method, url, content=content, headers=headers)
            self.url, self.text, self.status = url, reply.text, reply.status_code
            if not reply.has_redirect_location:
                return self
            url, method, data = urljoin(url, reply.headers["location"]), "GET", None
            if not url.startswith(f"{self._origin}/"):
                self.left_to = url
                return self
        raise PageError("redirected in a circle")

    def submit(
        self,
        button: tuple[str, str] | None = None,
        *,
        action: str = "",
        fill: Mapping[str, str] | None = None,
        tick: Iterable[tuple[str, str]] = (),
    ) -> Self:
        """Press a button of the form whose target contains `action`.

        Raises:
            PageError: the page offers no such form, button, input or box.
        """
        parser = _Forms()
        parser.feed(self.text)
        for form in parser.forms:
            if action in urljoin(self.url, form.action) and (button is None or button in form.buttons):
                break
        else:
            raise PageError(f"the page at {self.url} ({self.status}) offers no such form")
        missing = [name for name in fill or {} if name not in form.inputs] + [box for box in tick if box not in form.boxes]
        if missing:
            raise PageError(f"the form offers no {missing}")
        data = [*form.fields, *(fill or {}).items(), *tick, *([button] if button and button[0] else [])]
        return self._go(form.method, urljoin(self.url, form.action), data)

    def links(self, prefix: str) -> list[str]:
        """Targets of the page's links that begin with `prefix`, in order."""
        parser = _Forms()
        parser.feed(self.text)
        return [link for link in parser.links if link.startswith(prefix)]

    def boxes(self) -> list[tuple[str, str]]:
        """All tick boxes of the page, in order of the page."""
        parser = _Forms()
        parser.feed(self.text)
        return sorted({box for form in parser.forms for box in form.boxes}, key=lambda box: self.text.find(f'value="{box[1]}"'))

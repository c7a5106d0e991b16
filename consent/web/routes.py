"""All pages, for consent/app.py."""

from litestar.types import ControllerRouterHandler

from consent.web import consent_page, history, home, login, my_grants

handlers: list[ControllerRouterHandler] = [
    login.show_login,
    login.log_in,
    login.log_out,
    *home.handlers,
    *consent_page.handlers,
    *my_grants.handlers,
    *history.handlers,
]

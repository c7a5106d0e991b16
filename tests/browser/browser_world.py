"""What the browser tests share."""

from dataclasses import dataclass

from playwright.async_api import ViewportSize
from web_world import World

PHONE: ViewportSize = {"width": 390, "height": 844}


@dataclass
class Service:
    """The running service, its parties and its ledger's key."""

    url: str
    world: World
    vkey: str

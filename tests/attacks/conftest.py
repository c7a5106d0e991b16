"""The fixtures of `oauth_world`."""

from oauth_world import bank, http, other_bank, parties, platform, visitor

__all__ = ["bank", "http", "other_bank", "parties", "platform", "visitor"]

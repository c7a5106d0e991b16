"""The fixtures of `oauth_world`, and the way to the verifier's sample ledgers (tests/audit)."""

import sys
from pathlib import Path

from oauth_world import bank, http, other_bank, parties, platform, visitor

sys.path.insert(0, str(Path(__file__).parents[1] / "audit"))

__all__ = ["bank", "http", "other_bank", "parties", "platform", "visitor"]

"""OPA's configuration: poll the service for the bundle in force, and load none that is not signed by the operator's key."""

import json
from typing import Any

from consent.activation.running import trusted_keys
from consent.decisions.bundle import BundleError
from consent.decisions.signing import SCOPE
from consent.settings import Settings

POLL_SECONDS = 1
"""How long OPA may lag behind an activation; checks answer 503 meanwhile."""


def configuration(settings: Settings, url: str, key_id: str | None) -> str:
    """For `opa run --server --config-file FILE`, as JSON, which is YAML too.

    Args:
        url: where OPA reaches the service.
        key_id: which trusted key signs; None where there is only one. OPA 1.21.3 and newer; it checks one key alone.

    Raises:
        BundleError: no key is trusted, or it is not said which.
    """
    keys = trusted_keys(settings)
    if key_id is None and len(keys) == 1:
        (key_id,) = keys
    if key_id is None or key_id not in keys:
        raise BundleError(f"CONSENT_POLICY_KEYS_FILE holds {len(keys)} keys ({' '.join(keys) or 'none'}); name one with --key-id")
    document: dict[str, Any] = {
        "services": {"consent": {"url": url}},
        "keys": {key_id: {"algorithm": "ES256", "key": keys[key_id].as_pem(private=False).decode()}},
        "bundles": {
            "consent": {
                "service": "consent",
                "resource": "policy/bundle.tar.gz",
                "polling": {"min_delay_seconds": POLL_SECONDS, "max_delay_seconds": POLL_SECONDS},
                "signing": {"keyid": key_id, "scope": SCOPE},
            }
        },
    }
    return json.dumps(document, indent=2)

"""What this authorization server says of itself (RFC 8414). It names what is supported, exactly, and nothing else."""

from typing import Any

from consent.oauth.jose import ALGORITHMS
from consent.parties.access import SCOPES

DETAIL_TYPE = "financing_data"


def metadata(issuer: str) -> dict[str, Any]:
    """Members of RFC 8414 §2, 9126 §5, 9396 §10, 9449 §5.1 and 9207 §3."""
    algorithms = list(ALGORITHMS)
    methods = ["private_key_jwt", "self_signed_tls_client_auth"]
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "pushed_authorization_request_endpoint": f"{issuer}/oauth/par",
        "token_endpoint": f"{issuer}/oauth/token",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "grant_management_endpoint": f"{issuer}/grants",
        "grant_management_actions_supported": ["create", "replace", "merge", "query", "revoke"],
        "grant_management_action_required": False,
        "require_pushed_authorization_requests": True,
        "request_parameter_supported": True,
        "request_uri_parameter_supported": False,
        "request_object_signing_alg_values_supported": algorithms,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "scopes_supported": sorted(SCOPES),
        "authorization_details_types_supported": [DETAIL_TYPE],
        "authorization_response_iss_parameter_supported": True,
        "code_challenge_methods_supported": ["S256"],
        "tls_client_certificate_bound_access_tokens": True,
        "dpop_signing_alg_values_supported": algorithms,
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "ui_locales_supported": ["zh-CN", "en"],
    }


def jwks() -> dict[str, Any]:
    """No keys: tokens are opaque, and nothing that this server sends to clients is signed."""
    return {"keys": []}

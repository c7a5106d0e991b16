"""The authorization server: FAPI 2.0 Security Profile with Rich Authorization Requests (RFC 9396) as the carrier of grants.

Owns pushed requests, codes, tokens and replay marks. Refuses to decide what may be asked (policies do, through a `RequestJudge`) and
what was granted (`consent.grants` does). The only importer of Authlib; docs/decisions/0003-authlib.md says for what.

Invariants: a jti, request_uri and code count once, on every process, also after a request that failed; no token without a key that
it is bound to; a secret is stored as its SHA-256 alone; nothing that a caller wrote stands in an error or a log line.
"""

# METADATA
# title: Who may ask OPA what
# description: |
#   Only the bearer of the token in OPA's environment, and only the two documents that the service asks for. Without a token in the
#   environment nobody may. Health is open to the host.
package system.authz

default allow := false

allow if {
	input.method == "POST"
	input.path in [
		["v1", "data", "consent", "decision", "answers"],
		["v1", "data", "consent", "request", "answers"],
	]
	token := opa.runtime().env.CONSENT_OPA_TOKEN
	count(token) >= 32
	input.identity == token
}

allow if {
	input.method == "GET"
	input.path == ["health"]
}

"""Judging recorded decisions again: under the policies of their time (`rerun`), or under new ones before they come into force (`dryrun`).

The state is rebuilt from the ledger by the verifier's own machine (`consent_audit.replay`), and the policies are asked with the same input
as at the time (`consent.decisions.facts.policy_input`). What only the database knew stands in the record as `told` and is taken from there.
"""

"""Verifies a consent ledger offline.

The package owns the bytes of the ledger format (hashes, tiles, signed notes, records) and the verifier over them. It
never talks to the service's database, needs no code of the service, and depends on `cryptography` alone, so that an
auditor can read all of it. The byte-level modules are pure: they take bytes and return values or raise; only the
sources, the state file and the command line touch the outside world.
"""

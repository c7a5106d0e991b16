"""What `/metrics` shows (Prometheus text format): counts and durations, by ids of ours and words of the code, by nothing of a caller.

Durations of the ledger, each a histogram and, beside it, the longest since the process started:
durable    from asking for the ledger's lock to the commit: what a writer waits before it may answer
signed     from the append of the oldest record that a head newly covers to that head's commit
witnessed  from the same append to the quorum of cosignatures

With several worker processes `consent serve` names PROMETHEUS_MULTIPROC_DIR before this module is imported; any of them then answers for
all.
"""

import os
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_REGISTRY = CollectorRegistry()
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
_LONGEST = Gauge(
    "consent_ledger_longest_seconds", "Longest duration since the start.", ["stage"], registry=_REGISTRY, multiprocess_mode="max"
)


class Duration:
    """A histogram of seconds that also keeps the maximum."""

    def __init__(self, stage: Literal["durable", "signed", "witnessed"], text: str) -> None:
        self._histogram = Histogram(f"consent_ledger_{stage}_seconds", text, buckets=_SECONDS, registry=_REGISTRY)
        self._longest = _LONGEST.labels(stage)
        self._maximum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._histogram.observe(seconds)
        if seconds > self._maximum:
            self._maximum = seconds
            self._longest.set(seconds)


DURABLE = Duration("durable", "From asking for the ledger's lock to the commit.")
SIGNED = Duration("signed", "From the append of a head's oldest new record to the head's commit.")
WITNESSED = Duration("witnessed", "From the append of a head's oldest new record to its quorum of cosignatures.")
DECISIONS = Counter("consent_decisions", "Checks decided and recorded.", ["outcome"], registry=_REGISTRY)
UNDECIDED = Counter("consent_undecided", "Checks answered 503: nothing was decided or recorded.", ["code"], registry=_REGISTRY)
RECORDS = Counter("consent_ledger_records", "Records appended by this service's processes.", registry=_REGISTRY)
SIGNED_SIZE = Gauge("consent_ledger_signed_size", "Size of the newest signed head.", registry=_REGISTRY, multiprocess_mode="max")
SIGNER_FAILURES = Counter("consent_ledger_signer_failures", "Rounds in which nothing could be signed.", ["code"], registry=_REGISTRY)
WITNESS_SIZE = Gauge(
    "consent_ledger_witness_size",
    "Size of the newest head that a witness cosigned.",
    ["witness"],
    registry=_REGISTRY,
    multiprocess_mode="max",
)
WITNESS_FAILURES = Counter(
    "consent_ledger_witness_failures", "Requests that brought no cosignature.", ["witness", "trouble"], registry=_REGISTRY
)


def exposition() -> bytes:
    """All of it as text, over all worker processes if there are several."""
    if os.environ.get(MULTIPROCESS):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    return generate_latest(_REGISTRY)

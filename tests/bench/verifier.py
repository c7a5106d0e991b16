"""Records per second of `consent-audit verify` over an export, against plain SHA-256 over the same bytes."""

import hashlib
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from consent.ledger.keys import load_key
from consent.ledger.service import export
from consent.ledger.signer import Signer
from consent.settings import Settings
from tests.bench.checks import BenchFailed
from tests.bench.world import Place

ROUNDS = 3
LIMIT_SECONDS = 300


async def measure(place: Place) -> dict[str, Any]:
    """The whole program, its start included, in a process of its own."""
    key_file = Path(place.environment["CONSENT_LEDGER_KEY_FILE"])
    settings = Settings(database_url=place.urls.app_url, issuer=place.issuer, ledger_key_file=key_file).checked()
    key = load_key(key_file, settings.ledger_origin)
    engine = place.engine()
    file = place.state / "export.tar"
    try:
        await Signer(engine, key).sign_now()
        began = time.perf_counter()
        records = await export(engine, file)
        exporting = time.perf_counter() - began
    finally:
        await engine.dispose()
    hashing, verifying, peaks = [], [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        with file.open("rb") as source:
            hashlib.file_digest(source, "sha256")
        hashing.append(time.perf_counter() - began)
        seconds, peak = _verify(place, file, key.vkey)
        verifying.append(seconds)
        peaks.append(peak)
    seconds, plain = statistics.median(verifying), statistics.median(hashing)
    inside = _inside(file, key.vkey)
    return {
        "records": records,
        "bytes": file.stat().st_size,
        "records_per_second": round(records / seconds),
        "sha256_records_per_second": round(records / plain),
        "ratio": round(plain / seconds, 3),
        "hashes_chain_tree_per_core_second": inside["hashes"],
        "parsed_per_core_second": inside["parsed"],
        "proof_milliseconds": inside["proof_milliseconds"],
        "peak_mib": round(max(peaks)),
        "export_records_per_second": round(records / exporting),
    }


_INSIDE = """
import json, random, statistics, sys, time
from consent_audit.note import Verifier
from consent_audit.policy import Policy
from consent_audit.prove import prove
from consent_audit.sources import open_source
from consent_audit.verify import Options, verify
file, key, rounds = sys.argv[1], Verifier.parse(sys.argv[2]), int(sys.argv[3])
found = {}
with open_source(file) as source:
    for name, parse in (("hashes", False), ("parsed", True)):
        rates = []
        for _ in range(rounds):
            began = time.process_time()
            report = verify(source, key, Options(parse=parse))
            rates.append(report.records / (time.process_time() - began))
            assert report.verdict == 0
        found[name] = round(statistics.median(rates))
    pick, times = random.Random(7), []
    for _ in range(200):
        began = time.perf_counter()
        prove(source, Policy.trusting(key), pick.randrange(report.records))
        times.append(1000 * (time.perf_counter() - began))
    found["proof_milliseconds"] = round(statistics.median(times), 2)
print(json.dumps(found))
"""


def _inside(file: Path, vkey: str) -> dict[str, Any]:
    """Records per second of one core's time without the program's start, with and without reading records; and one proof's time.

    Raises:
        BenchFailed: it did not verify.
    """
    done = subprocess.run([sys.executable, "-I", "-c", _INSIDE, str(file), vkey, str(ROUNDS)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailed("the verifier refused the ledger that it was given")
    return dict(json.loads(done.stdout))


_MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def _verify(place: Place, file: Path, vkey: str) -> tuple[float, float]:
    """Seconds, and peak of memory in MiB.

    Raises:
        BenchFailed: it did not verify.
    """
    state = place.state / "verifier.json"
    state.unlink(missing_ok=True)
    command = [sys.executable, "-m", "consent_audit", "verify", str(file), "--key", vkey, "--state", str(state)]
    began = time.perf_counter()
    # A child's peak begins with that of the process which started it, so a small one stands between.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", _MEASURE, *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"consent-audit ended with {done.returncode}")
    return time.perf_counter() - began, int(done.stdout) / 1024

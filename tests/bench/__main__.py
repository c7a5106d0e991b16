"""`make bench`: every number beside a baseline of the same run on the same machine. Prints ratios, writes bench.json."""

import argparse
import asyncio
import datetime
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from tests.bench import checks, engines, ledger, ledger_proofs, ledger_times, oauth, verifier
from tests.bench.world import database, furnish

PARTS = ("checks", "mtls", "oauth", "regopy", "ledger", "verifier", "times", "proofs", "engines")


def main() -> int:
    """Measure the parts that were asked for."""
    arguments = _arguments()
    results: dict[str, Any] = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load_before": os.getloadavg()[0]},
    }
    try:
        with database() as (state, urls):
            place = asyncio.run(furnish(state, urls, banks=4, enterprises=200))
            for part in arguments.parts:
                print(f"… {part}", flush=True)
                results[part] = _measure(part, place, quick=arguments.quick)
                print(json.dumps(results[part], indent=1), flush=True)
    except checks.BenchFailed as failure:
        print(f"the bench failed: {failure}", file=sys.stderr)
        return 1
    results["machine"]["load_after"] = os.getloadavg()[0]
    arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    print(_summary(results))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="short rounds: to see that it works, not to compare")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    arguments = parser.parse_args()
    arguments.parts = arguments.parts or list(PARTS)
    if unknown := set(arguments.parts).difference(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if "verifier" in arguments.parts and "ledger" not in arguments.parts:
        arguments.parts.insert(arguments.parts.index("verifier"), "ledger")
    return arguments


def _measure(part: str, place: Any, *, quick: bool) -> Any:
    if part == "checks":
        return checks.measure(place, opa=True, plan=[(64, 2)] if quick else [(64, 5), (256, 3)], seconds=1 if quick else 3)
    if part == "mtls":
        return checks.measure(place, opa=True, plan=[(64, 2 if quick else 5)], seconds=1 if quick else 3, mtls=True)
    if part == "oauth":
        return oauth.measure(place, pairs=2 if quick else 5, seconds=1 if quick else 3)
    if part == "regopy":
        return checks.measure(place, opa=False, plan=[(64, 1 if quick else 3)], seconds=1 if quick else 3)
    if part == "ledger":
        return asyncio.run(ledger.measure(place, batches=40 if quick else 400))
    if part == "verifier":
        return asyncio.run(verifier.measure(place))
    if part == "times":
        return asyncio.run(ledger_times.measure(place, seconds=4 if quick else 15))
    if part == "proofs":
        return asyncio.run(ledger_proofs.measure(place, records=200_000 if quick else 10_000_000))
    return asyncio.run(engines.measure(place, seconds=0.2 if quick else 1))


def _summary(results: dict[str, Any]) -> str:
    lines = ["", f"{'what':58}{'measured':>14}{'baseline':>14}{'ratio':>8}"]

    def line(what: str, measured: str, baseline: str = "", ratio: float | str = "") -> None:
        lines.append(f"{what:58}{measured:>14}{baseline:>14}{ratio:>8}")

    for part, name in (("checks", "OPA"), ("mtls", "OPA, mTLS"), ("regopy", "in-process")):
        for row in results.get(part, ()):
            what = f"checks, {name}, {row['connections']} connections"
            line(what, f"{row['checks_per_second']:,}/s", f"{row['echoes_per_second']:,}/s", row["ratio"])
            line("  p50 / p99", f"{row['check_p50_ms']}/{row['check_p99_ms']} ms", f"{row['echo_p50_ms']}/{row['echo_p99_ms']} ms")
    for what, row in results.get("oauth", {}).items():
        line(f"{what}, 64 connections", f"{row['per_second']:,}/s", f"{row['echoes_per_second']:,}/s", row["ratio"])
        line("  p50 / p99", f"{row['p50_ms']}/{row['p99_ms']} ms")
    if "ledger" in results:
        row = results["ledger"]
        line("ledger, durable batches of 256", f"{row['records_per_second']:,}/s", f"{row['inserts_per_second']:,}/s", row["ratio"])
        for size, rate in row["by_batch"].items():
            line(f"  in batches of {size}", f"{rate:,}/s")
        line("  by two processes at once", f"{row['two_processes_per_second']:,}/s")
    for stage in ("durable", "signed", "witnessed") if "times" in results else ():
        row = results["times"][f"{stage}_ms"]
        line(f"a record is {stage}: p50 / p99 / max", f"{row['p50']}/{row['p99']}/{row['max']} ms")
    if "times" in results:
        row = results["times"]["publishing"]
        line("commit beside a publisher, p50", f"{row['beside_ms']['p50']} ms", f"{row['alone_ms']['p50']} ms", row["ratio"])
    if "proofs" in results:
        row = results["proofs"]
        line(f"one proof from {row['records']:,} records", f"{row['proof_ms']['p50']} ms", f"p99 {row['proof_ms']['p99']} ms")
    if "verifier" in results:
        row = results["verifier"]
        line(
            "consent-audit, all records parsed", f"{row['records_per_second']:,}/s", f"{row['sha256_records_per_second']:,}/s", row["ratio"]
        )
        line("  peak of memory", f"{row['peak_mib']} MiB")
    for what, row in results.get("engines", {}).items():
        line(f"decision, {what}", f"{row['micros']} µs", f"CPU {row['cpu_micros']} µs")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

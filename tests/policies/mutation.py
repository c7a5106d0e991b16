"""Running the mutants: an OPA server gets one mutated module after the other and answers the corpus until an answer differs.

`python -m tests.policies.mutation` runs them all on two servers and prints who survived.
"""

import contextlib
import functools
import http.client
import itertools
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consent.catalogue.load import load
from consent.decisions.bundle import Bundle, default_directory, load_bundle
from consent.decisions.pack import Packed, pack, pack_requests, unpack
from tests.policies import corpus, generated, oracle, oracle_requests
from tests.policies.conftest import tool
from tests.policies.mutants import Mutant, mutants
from tests.policies.wire import check_input, request_input

Json = Any
SERVERS = 2
BATCH = 16
SAMPLE = 9
"""Every ninth generated case; all hand-written ones."""


class Undecided(Exception):
    """The mutated policies do not compile, or OPA answered with an error."""


class Server:
    """An OPA server whose modules can be changed."""

    def __init__(self, opa: str, bundle: Bundle) -> None:
        self._directory = tempfile.TemporaryDirectory()
        files = {**bundle.modules, "data.json": bundle.document().decode()}
        _write(Path(self._directory.name), files)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        address = f"127.0.0.1:{self._port}"
        command = [opa, "run", "--server", "--addr", address, "--log-level", "error", "--skip-version-check", *sorted(files)]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, cwd=self._directory.name, **quiet)
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                self._connection.connect()
                return
            if time.monotonic() > deadline:
                raise TimeoutError("OPA did not come up")
            time.sleep(0.05)

    def send(self, method: str, path: str, body: bytes) -> Json:
        """The decoded answer.

        Raises:
            Undecided: OPA says that it is an error.
        """
        self._connection.request(method, path, body, {"Content-Type": "application/json"})
        reply = self._connection.getresponse()
        text = reply.read()
        if reply.status >= 300:
            raise Undecided(text.decode())
        return json.loads(text) if text else None

    def close(self) -> None:
        """Stop it."""
        self._connection.close()
        self._process.terminate()
        self._process.wait(timeout=10)
        self._directory.cleanup()


@dataclass(frozen=True)
class Batch:
    """Some cases that are asked at once: where, the document, and how to find the whole answers in the reply."""

    path: str
    body: bytes
    answers: Callable[[Json], list[Json]]
    expected: list[Json]

    def passed(self, server: Server) -> bool:
        """Whether every answer is as expected; an answer that cannot be read is not."""
        try:
            return self.answers(server.send("POST", self.path, self.body)["result"]) == self.expected
        except (Undecided, KeyError, IndexError, TypeError, ValueError, AttributeError):
            return False


class Exam:
    """The cases with their expected answers, in batches that OPA answers at once."""

    def __init__(self, bundle: Bundle, *, generated_too: bool = True) -> None:
        self.batches: list[Batch] = []
        self._bundle = bundle
        self.batches.append(Batch("/v1/data/consent/field_sets/faults", b'{"input":{}}', list, []))  # the table is what the law says
        self._checks([(case, answer) for _, case, answer in corpus.decisions()])
        self._requests([(case, answer) for _, case, answer in corpus.requests()])
        if not generated_too:
            return
        self._checks([(case, oracle.decide(case)) for case in [*generated.checks()][::SAMPLE]])
        self._requests([(case, oracle_requests.judge(case)) for case in [*generated.requests()][::SAMPLE]])

    def _checks(self, cases: list[tuple[Json, Json]]) -> None:
        data = self._bundle.data["consent"]
        for part in _parts(cases):
            asked = [check_input(case, str(n)) for n, (case, _) in enumerate(part)]
            packed = pack(asked, data["catalogue"]["items"])
            body = b'{"input":' + packed.document + b"}"
            read = functools.partial(_unpacked, packed, asked, data["table"])
            self.batches.append(Batch("/v1/data/consent/decision/answers", body, read, self._expected(part)))

    def _requests(self, cases: list[tuple[Json, Json]]) -> None:
        for part in _parts(cases):
            body = b'{"input":' + pack_requests([request_input(case, str(n)) for n, (case, _) in enumerate(part)]) + b"}"
            self.batches.append(Batch("/v1/data/consent/request/answers", body, list, self._expected(part)))

    def _expected(self, part: list[tuple[Json, Json]]) -> list[Json]:
        return [{"key": str(n), "revision": self._bundle.revision, **answer} for n, (_, answer) in enumerate(part)]

    def passed(self, server: Server, likely: list[int]) -> bool:
        """Whether every answer is as expected. `likely` are the batches that told lately; they are asked first, and it is kept up."""
        for n in [*likely, *(n for n in range(len(self.batches)) if n not in likely)]:
            if not self.batches[n].passed(server):
                likely[:] = [n, *(other for other in likely if other != n)][:8]
                return False
        return True


def _parts(cases: list[tuple[Json, Json]]) -> Iterator[list[tuple[Json, Json]]]:
    """Cases of one moment each, since a document has one."""
    for _, same in itertools.groupby(sorted(cases, key=lambda pair: pair[0]["now"]), lambda pair: pair[0]["now"]):
        part = [*same]
        yield from (part[start : start + BATCH] for start in range(0, len(part), BATCH))


def _unpacked(packed: Packed, asked: list[Json], table: Json, reply: Json) -> list[Json]:
    return unpack(packed, asked, reply, table)


def run(opa: str, bundle: Bundle, changed: list[Mutant]) -> dict[str, list[Mutant]]:
    """The mutants by fate: `killed`, `survived`, `stillborn`. The policies as they are must pass first."""
    exam = Exam(bundle)
    share = [changed[n::SERVERS] for n in range(SERVERS)]
    with ThreadPoolExecutor(SERVERS) as pool:
        fates = list(pool.map(lambda part: list(_fates(opa, bundle, exam, part)), share))
    return {fate: [mutant for part in fates for mutant, met in part if met == fate] for fate in ("killed", "survived", "stillborn")}


def _fates(opa: str, bundle: Bundle, exam: Exam, changed: list[Mutant]) -> Iterator[tuple[Mutant, str]]:
    server = Server(opa, bundle)
    try:
        if not exam.passed(server, []):
            raise Undecided("the policies as they are do not pass")
        for module, part in itertools.groupby(changed, lambda mutant: mutant.module):
            told: dict[str, list[int]] = {}
            for mutant in part:
                try:
                    server.send("PUT", f"/v1/policies/{module}", mutant.text.encode())
                except Undecided:
                    yield mutant, "stillborn"
                else:
                    same = exam.passed(server, told.setdefault(mutant.rule, [])) and _tests_pass(opa, bundle, mutant)
                    yield mutant, "survived" if same else "killed"
            server.send("PUT", f"/v1/policies/{module}", bundle.modules[module].encode())
    finally:
        server.close()


def _tests_pass(opa: str, bundle: Bundle, mutant: Mutant) -> bool:
    """Whether the Rego tests beside the policies notice nothing either; asked only of what the cases let pass."""
    with tempfile.TemporaryDirectory() as directory:
        _write(Path(directory), {**bundle.modules, mutant.module: mutant.text, "data.json": bundle.document().decode()})
        tests = sorted(default_directory().rglob("*_test.rego"))
        done = subprocess.run([opa, "test", directory, *tests], capture_output=True, check=False, timeout=120)
    return done.returncode == 0


def _write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main() -> None:
    """Run all mutants and print the survivors."""
    began = time.monotonic()
    opa, bundle = tool("opa"), load_bundle(load())
    fates = run(opa, bundle, mutants(opa, bundle.modules))
    for mutant in fates["survived"]:
        print(mutant.name)
    print(*(f"{fate} {len(met)}" for fate, met in fates.items()), f"in {time.monotonic() - began:.0f} s", sep=", ", file=sys.stderr)


if __name__ == "__main__":
    main()

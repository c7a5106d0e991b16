"""Checks over the tree itself that no linter makes: run by `make check`, exits 1 with every place named.

Each rule first proves on a made-up line that it can fail.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SELF = "tests/check_tree.py"
LIMIT_LINES = 400

Rule = Callable[[str, str], Iterator[str]]


def no_download_address(path: str, body: str) -> Iterator[str]:
    """Lock files record names, versions and hashes, never where to fetch them."""
    if re.search(r"(package-lock\.json|\.lock)$", path):
        for number, line in enumerate(body.splitlines(), 1):
            if re.search(r"https?://|\"resolved\"|--index-url|--find-links", line):
                yield f"{path}:{number}: a download address in a lock file"


def no_machine_path(path: str, body: str) -> Iterator[str]:
    """Nothing in the tree knows the machine that it was written on."""
    for number, line in enumerate(body.splitlines(), 1):
        if path != SELF and re.search(r"(?<![\w.])/(work|root|home/\w+)/", line):
            yield f"{path}:{number}: a path of some machine"


def no_long_source(path: str, body: str) -> Iterator[str]:
    """A long file is split by noun."""
    if path.endswith((".py", ".rego", ".html", ".css", ".js")) and body.count("\n") > LIMIT_LINES:
        yield f"{path}: {body.count(chr(10))} lines, more than {LIMIT_LINES}"


def no_second_engine(path: str, body: str) -> Iterator[str]:
    """One way to hash a password, one database: SQLite and other hashes do not come back by accident."""
    if path.endswith(".py") and path != SELF and re.search(r"^\s*(import|from) (sqlite3|bcrypt|passlib|requests)\b", body, re.MULTILINE):
        yield f"{path}: a library that this project does without"


PROOF: dict[Rule, tuple[str, str]] = {
    no_download_address: ("some.lock", "x==1 https://example.org/x.whl"),
    no_machine_path: ("docs/x.md", "see /home/x/y"),
    no_long_source: ("x.py", "\n" * (LIMIT_LINES + 1)),
    no_second_engine: ("x.py", "import sqlite3"),
}


def main() -> int:
    """Run every rule over every tracked text file."""
    for rule, (path, body) in PROOF.items():
        if not list(rule(path, body)):
            print(f"the rule {rule.__name__} cannot fail", file=sys.stderr)
            return 1
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    found: list[str] = []
    read = 0
    for name in filter(None, names):
        file = ROOT / name
        if file.is_file() and file.suffix not in {".png", ".woff2", ".tar"}:
            read += 1
            body = file.read_text(encoding="utf-8")
            found += [place for rule in PROOF for place in rule(name, body)]
    if read < 50:
        found.append(f"only {read} files were read: the check looks at the wrong tree")
    print("\n".join(found) or f"tree: {read} files, {len(PROOF)} rules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env bash
# Format, types, tests, coverage of every line and lint of the policies, by OPA and Regal. Without them: one plain line, and under CI=true an error.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="$PWD/.tools/bin:$PATH"
python=${PYTHON:-.venv/bin/python}

for program in opa regal; do
    if ! command -v "$program" >/dev/null 2>&1; then
        echo "not available: $program; not tested: format, types and lint of the policies"
        [ "${CI:-}" = true ] && exit 1
        exit 0
    fi
done

bundle=$(mktemp -d)
trap 'rm -rf "$bundle"' EXIT
"$python" -c '
import sys
from pathlib import Path
from consent.catalogue.load import load
from consent.decisions.bundle import write_bundle
write_bundle(load(), Path(sys.argv[1]))' "$bundle"

unformatted=$(opa fmt --list policies)
[ -z "$unformatted" ] || { echo "opa fmt: $unformatted" >&2; exit 1; }
opa check --strict --schema policies/schemas/input.json policies
tests=$(find policies -name '*_test.rego')
[ -n "$tests" ] || { echo "no tests of policies were found" >&2; exit 1; }
# shellcheck disable=SC2086 # one argument per file
opa test "$bundle" $tests
"$python" -m tests.policies.coverage
regal lint policies

#!/usr/bin/env bash
# Builds OPA and Regal from the versions pinned in go.mod beside this file and in regal/. Usage: build.sh OUTDIR
# Go checks every module against go.sum. Nothing is built when the wanted binaries are there already.
# Exit 0: both stand in OUTDIR. Exit 1: they do not, and one line on standard error says why.
set -euo pipefail

out=${1:?usage: build.sh OUTDIR}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")"

go=$(command -v go || true)
[ -n "$go" ] || for candidate in /usr/local/go/bin/go /usr/lib/go/bin/go; do
    if [ -x "$candidate" ]; then go=$candidate; fi
done

build() { # name, directory of the module, package
    local pins
    pins=$(cat "$2/go.mod" "$2/go.sum" | sha256sum | cut -c1-64)
    if [ -x "$out/$1" ] && [ "$(cat "$out/.$1-pins" 2>/dev/null)" = "$pins" ]; then
        return 0
    fi
    [ -n "$go" ] || { echo "no Go toolchain was found" >&2; return 1; }
    # A toolchain that is too old says so itself; another one is not downloaded behind the operator's back.
    # The binary is built under another name and renamed, so that a stopped build leaves no half binary.
    (cd "$2" && GOTOOLCHAIN=local CGO_ENABLED=0 nice "$go" build -p "${BUILD_JOBS:-1}" -trimpath -ldflags "-s -w" -o "$out/.$1-building" "$3") ||
        { echo "building $1 failed" >&2; return 1; }
    mv "$out/.$1-building" "$out/$1"
    echo "$pins" > "$out/.$1-pins"
}

build opa . github.com/open-policy-agent/opa
build regal regal github.com/open-policy-agent/regal

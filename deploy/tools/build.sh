#!/usr/bin/env bash
# Builds programs from the versions pinned in go.mod beside this file, in regal/ and in judges/. Usage: build.sh OUTDIR [PROGRAM…]
# Go checks every module against go.sum. A program is not built again when the wanted one is there already, and two builds at once
# wait for each other. Exit 0: all stand in OUTDIR. Exit 1: one does not, and one line on standard error says why.
set -euo pipefail

out=${1:?usage: build.sh OUTDIR [PROGRAM…]}
shift
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- opa regal fsck litewitness ledgerjudge

go=$(command -v go || true)
[ -n "$go" ] || for candidate in /usr/local/go/bin/go /usr/lib/go/bin/go; do
    if [ -x "$candidate" ]; then go=$candidate; fi
done

build() { # name, directory of the module, package
    local pins half
    pins=$(find "$2" -maxdepth 2 \( -path "$2/go.*" -o -path "$2/$1/*.go" \) -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum | cut -c1-64)
    if [ -x "$out/$1" ] && [ "$(cat "$out/.$1-pins" 2>/dev/null)" = "$pins" ]; then
        return 0
    fi
    [ -n "$go" ] || { echo "no Go toolchain was found" >&2; return 1; }
    # A toolchain that is too old says so itself; another one is not downloaded behind the operator's back.
    # The binary is built under another name and renamed, so that a stopped build leaves no half binary.
    half="$out/.$1-building-$$"
    (cd "$2" && GOTOOLCHAIN=local CGO_ENABLED=0 nice "$go" build -p "${BUILD_JOBS:-1}" -trimpath -ldflags "-s -w" -o "$half" "$3") ||
        { rm -f "$half"; echo "building $1 failed" >&2; return 1; }
    mv "$half" "$out/$1"
    echo "$pins" > "$out/.$1-pins"
}

if command -v flock >/dev/null 2>&1; then
    exec 9>"$out/.lock"
    flock 9
fi
for program in "$@"; do
    case $program in
        opa) build opa . github.com/open-policy-agent/opa ;;
        regal) build regal regal github.com/open-policy-agent/regal ;;
        fsck) build fsck judges github.com/transparency-dev/tessera/cmd/fsck ;;
        litewitness) build litewitness judges filippo.io/torchwood/cmd/litewitness ;;
        ledgerjudge) build ledgerjudge judges ./ledgerjudge ;;
        *) echo "unknown program: $program" >&2; exit 1 ;;
    esac
done

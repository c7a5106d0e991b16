#!/usr/bin/env bash
# Brings the programs that some tests need and Python packages cannot carry: Chromium and nginx (Debian packages), OPA, Regal and the judges
# of the ledger (Go modules here, built once), and OAuth clients of others (npm packages of tests/clients).
# What cannot be had is named in one plain line and its tests are skipped; under CI=true that is an error instead.
set -uo pipefail
cd "$(dirname "$0")/../.."
missing=0

need() { # what, why
    echo "not available: $1; not tested: $2"
    missing=1
}

if ! command -v chromium >/dev/null 2>&1; then
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        echo "installing Chromium (Debian package)"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk; } >/dev/null 2>&1
    fi
    command -v chromium >/dev/null 2>&1 || need chromium "the pages in a real browser"
fi

if ! [ -x /usr/sbin/nginx ] || ! [ -e /usr/lib/nginx/modules/ngx_http_js_module.so ]; then
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        echo "installing nginx and its module for JavaScript (Debian packages)"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light libnginx-mod-http-js; } >/dev/null 2>&1
    fi
    [ -e /usr/lib/nginx/modules/ngx_http_js_module.so ] || need "nginx with its module for JavaScript" "mutual TLS behind a real proxy"
fi

if ! deploy/tools/build.sh .tools/bin opa regal; then
    need "OPA and Regal (Go 1.26 or newer)" "policies in an OPA server, policy format and lint"
fi

if ! deploy/tools/build.sh .tools/bin fsck litewitness ledgerjudge; then
    need "fsck, litewitness and ledgerjudge (Go 1.26 or newer)" "the ledger by programs of others"
fi

clients=tests/clients/node_modules/.package-lock.json
if ! command -v npm >/dev/null 2>&1; then
    need "node and npm (20 or newer)" "OAuth clients of others"
elif [ ! -e "$clients" ] || [ tests/clients/package-lock.json -nt "$clients" ]; then
    echo "installing OAuth clients of others (npm)"
    (cd tests/clients && npm ci --silent --no-audit --no-fund --ignore-scripts) && touch "$clients" || need "the packages of tests/clients" "OAuth clients of others"
fi

if [ "$missing" = 1 ] && [ "${CI:-}" = true ]; then
    echo "CI=true: nothing may be left out" >&2
    exit 1
fi
exit 0

#!/usr/bin/env bash
# Holds our signatures to libraries that we did not write: Go modules and npm packages,
# all pinned. Installs the npm packages when they are missing or another version is
# locked; without Node the npm half is skipped and says so.
#
#   scripts/interop.sh [go test flags...]
set -euo pipefail
cd "$(dirname "$0")/../interop"

if command -v npm >/dev/null; then
	installed=npm/node_modules/.package-lock.json
	if [ ! -f "$installed" ] || [ npm/package-lock.json -nt "$installed" ]; then
		(cd npm && npm ci --silent --no-audit --no-fund --ignore-scripts && touch node_modules/.package-lock.json)
	fi
else
	echo "interop: npm is not installed, so the npm libraries are not tested" >&2
fi
go vet ./...
go test "$@" ./...

#!/usr/bin/env bash
# Runs every fuzz target for a while, one after the other: FUZZTIME=1m scripts/fuzz.sh
# [PACKAGE...]. What a target finds is kept by the go command under testdata/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."

for package in $(go list "${@:-./...}"); do
	for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "$package"
	done
done

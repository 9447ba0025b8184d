#!/usr/bin/env bash
# Installs the named tools where they are missing: golangci-lint into .tools/bin, gcc
# (which the race detector needs) and node from the system's packages.
set -euo pipefail
cd "$(dirname "$0")/.."

golangci_lint=v2.12.0

# packages NAME...: installs Debian packages, as root or through sudo.
packages() {
	local root=()
	if [ "$(id -u)" != 0 ]; then
		if ! command -v sudo >/dev/null; then
			echo "please install: $*" >&2
			return 1
		fi
		root=(sudo)
	fi
	if ! command -v apt-get >/dev/null; then
		echo "please install: $*" >&2
		return 1
	fi
	echo "installing $*"
	"${root[@]}" apt-get update -qq
	DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

for tool in "$@"; do
	case $tool in
	golangci-lint)
		if ! .tools/bin/golangci-lint version 2>/dev/null | grep -q "${golangci_lint#v}"; then
			echo "installing golangci-lint $golangci_lint"
			GOBIN=$PWD/.tools/bin go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$golangci_lint"
		fi
		;;
	gcc) command -v gcc >/dev/null || packages gcc libc6-dev ;;
	node) command -v npm >/dev/null || packages nodejs npm ;;
	*)
		echo "tools.sh: no tool is called $tool" >&2
		exit 2
		;;
	esac
done

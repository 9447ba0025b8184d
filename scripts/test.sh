#!/usr/bin/env bash
# Everything that must hold before a change lands, on a fresh machine too: it installs
# what is missing. Each step is printed with its time; the first failure ends the run.
#
#   scripts/test.sh [STEP...]    all steps, or the named ones
set -euo pipefail
cd "$(dirname "$0")/.."

# Packages with goroutines of their own. The database is written in pure Go, which the
# race detector slows down twenty times, so its tests run here in their short form.
raced=(
	./internal/run ./internal/hooktest ./internal/upkeep ./internal/egress ./internal/destination/...
	./internal/route ./internal/ingest ./internal/deliver ./internal/account ./internal/signature/...
	./internal/filter ./internal/store/...
)

step_tools() {
	./scripts/tools.sh golangci-lint gcc node
	go version
}

step_modules() {
	go mod verify
	go mod tidy -diff
	(cd interop && go mod tidy -diff)
	if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh .ci/run; fi
}

# The cache is the checkout's own: what it remembers holds paths.
step_lint() { GOLANGCI_LINT_CACHE=$PWD/.tools/cache .tools/bin/golangci-lint run ./...; }

# The rules of the repository first: they fail in a second.
step_rules() { go test .; }

step_unit() {
	local packages
	packages=$(go list ./... | grep -vx -e malote.dev/malote -e malote.dev/malote/internal/e2e)
	# shellcheck disable=SC2086 # one word a package
	go test $packages
}

step_race() { go test -race -short -timeout 20m "${raced[@]}"; }

# Our signatures against libraries that we did not write.
step_interop() {
	local folder
	for folder in interop interop/*/; do
		if [ -f "$folder/package-lock.json" ]; then
			(cd "$folder" && npm ci --silent --no-audit --no-fund --ignore-scripts)
		fi
	done
	(cd interop && go vet ./... && go test ./...)
}

# The built program from outside, killed and starved.
step_e2e() {
	go test -count=1 -timeout 10m ./internal/e2e
	make -s crash ROUNDS=5 CRASH='-births 2'
}

# The benchmark still runs and loses nothing; its figures mean nothing here.
step_bench() { make -s bench BENCH='-quick -out ""'; }

all=(tools modules rules lint unit race interop e2e bench)
[ $# -gt 0 ] || set -- "${all[@]}"

began=$SECONDS
for step in "$@"; do
	printf '\n== %s\n' "$step"
	at=$SECONDS
	set +e # a command in a condition would ignore the -e inside of it
	(
		set -e
		"step_$step"
	)
	status=$?
	set -e
	if [ $status != 0 ]; then
		printf '== %s FAILED after %d s\n' "$step" $((SECONDS - at))
		exit 1
	fi
	printf '== %s took %d s\n' "$step" $((SECONDS - at))
done
printf '\nall of it took %d s\n' $((SECONDS - began))

# Shared by the scripts beside it: source it, do not run it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

step() { printf '\n== %s\n' "$*"; }
say()  { printf '   %s\n' "$*"; }
die()  { printf '\nFAILED: %s\n' "$*" >&2; exit 1; }

in_ci() { [ "${CI:-}" = true ]; }

# have_go finds Go where a fresh shell may not, and checks its version.
have_go() {
	if ! command -v go >/dev/null && [ -x /usr/local/go/bin/go ]; then
		PATH=$PATH:/usr/local/go/bin
	fi
	command -v go >/dev/null || die "Go is missing: https://go.dev/doc/install"
	local want have
	want=$(awk '$1 == "go" { print $2 }' go.mod)
	# An older Go fetches the wanted one, if it can; one before 1.21 cannot read go.mod.
	have=$(go env GOVERSION 2>/dev/null) || have=$(cd / && go env GOVERSION)
	[ "$(printf '%s\n' "$want" "${have#go}" | sort -V | head -n 1)" = "$want" ] ||
		die "braid needs Go $want, this is ${have#go}: https://go.dev/doc/install"
}

# tools TOOL=PACKAGE... installs the Debian packages of the tools (or files, by pattern)
# that are missing, as root; else it says what is missing. On CI nothing may be missing.
tools() {
	local pair missing=() packages=()
	for pair in "$@"; do
		case $pair in
		/*) compgen -G "${pair%%=*}" >/dev/null && continue ;;
		*) PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%=*}" >/dev/null && continue ;;
		esac
		missing+=("${pair%%=*}")
		packages+=("${pair#*=}")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		say "installing ${packages[*]}"
		export DEBIAN_FRONTEND=noninteractive
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}"; } \
			>/tmp/braid-apt.$$.log 2>&1 || { cat /tmp/braid-apt.$$.log >&2; die "apt-get"; }
		rm -f /tmp/braid-apt.$$.log
		return 0
	fi
	say "MISSING: ${missing[*]}; what needs them is skipped"
	say "install them: sudo apt-get install ${packages[*]}"
	in_ci && die "nothing may be skipped here"
	return 0
}

#!/usr/bin/env bash
# The longest stall of stall.sh, of braid alone, on this machine instead of in a guest: the
# embedded target and braid in two network namespaces with two pairs of veth between them,
# and fio on braid's NBD socket. Needs root, fio with its nbd engine, jq and iptables.
#
#   scripts/guest-tests/stall-host.sh       FAULTS and LENGTH as for stall.sh
#
# The target wants no time between a lost session and the next (Time2Wait 0). It fails if
# an aim is missed, 0.1 s allowed.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
[ "$(id -u)" = 0 ] || die "it makes network namespaces: run it as root"
tools fio=fio jq=jq ip=iproute2 iptables=iptables
have_go

work=$(mktemp -d)
results=$work/results
here_space=stall-i-$$ target_space=stall-t-$$
target_name=iqn.2026-01.test.host:lun
pids=()

tidy() {
	local p
	for p in "${pids[@]}"; do
		kill "$p" || continue
		wait "$p" || true
	done
	ip netns del $here_space || true
	ip netns del $target_space || true
	rm -rf "$work"
} 2>/dev/null
trap tidy EXIT

# Not for the background: $! would not be the program itself.
in_here() { nsenter --net=/run/netns/$here_space "$@"; }
note() { say "$*"; }
fail() {
	[ ! -e "$work/log" ] || tail -n 5 "$work/log" >&2
	die "$*"
}
source scripts/guest-tests/network.sh
source scripts/guest-tests/stalls.sh
device_options=(--ioengine=nbd --thread "--uri=nbd+unix:///?socket=$work/nbd")

start_target() {
	nsenter --net=/run/netns/$target_space "$work/braid" target --name $target_name \
		--lun 0=ram:128MiB --portal 10.99.0.2:3260 --portal 10.99.1.2:3260 \
		>"$work/target" 2>&1 &
	pids+=($!)
	within 30 grep -qs '^ready' "$work/target"
}

start_braid() {
	rm -f "$work/up"
	nsenter --net=/run/netns/$here_space "$work/braid" up --name stall-$$ --nbd "unix:$work/nbd" \
		--control "unix:$work/control" --initiator-name iqn.2026-01.test.host:stall-$$ \
		iscsi://10.99.{0,1}.2/$target_name/0 >"$work/up" 2>"$work/log" &
	braid=$!
	pids+=($braid)
	within 30 grep -qs '^ready' "$work/up"
	within 30 whole
}

stop_braid() {
	kill $braid
	wait $braid || fail "braid ended with $?"
}

# whole tells whether both paths are active.
whole() {
	[ "$(curl -s --unix-socket "$work/control" http://braid/v1/status |
		jq '[.paths[] | select(.state == "active")] | length')" = 2 ]
}

CGO_ENABLED=0 go build -o "$work/braid" ./cmd/braid
ip netns add $here_space
in_here ip link set lo up
network 2
start_target
# A daemon for each fault: a path that was lost three times within a minute would be kept in
# reserve.
for fault in $faults; do
	start_braid
	[ -s "$results" ] || fill
	stall braid $fault $length within 60 whole
	stop_braid
done
stall_table
aim braid 0 0.1
judge
say "passed"

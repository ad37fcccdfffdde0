#!/usr/bin/env bash
# The longest stall of stall.sh, of braid alone, on this machine instead of in a guest: the
# embedded target and braid in two network namespaces with two pairs of veth between them,
# and fio on braid's NBD socket. Needs root, fio with its nbd engine, jq and iptables.
#
#   scripts/guest-tests/stall-host.sh [FAULT...]    none drop link-here link-there reset kill
#
# The target wants no time between a lost session and the next (Time2Wait 0). It fails if
# an aim is missed, 0.1 s allowed: 2 s when packets vanish, 0.2 s else.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
[ "$(id -u)" = 0 ] || die "it makes network namespaces: run it as root"
tools fio=fio jq=jq ip=iproute2 iptables=iptables
have_go

work=$(mktemp -d)
here=stall-i-$$ there=stall-t-$$
target_name=iqn.2026-01.test.host:lun
pids=()

tidy() {
	local p
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null && wait "$p"; done
	ip netns del $here
	ip netns del $there
	rm -rf "$work"
} 2>/dev/null
trap tidy EXIT

in_ns() { ip netns exec "$@"; }

network() {
	local i n
	for n in $here $there; do
		ip netns add $n
		ip -n $n link set lo up
	done
	for i in 0 1; do
		ip -n $here link add p$i type veth peer name t$i netns $there
		ip -n $here addr add 10.98.$i.1/24 dev p$i
		ip -n $there addr add 10.98.$i.2/24 dev t$i
		ip -n $here link set p$i up
		ip -n $there link set t$i up
	done
}

start() {
	in_ns $there "$work/braid" target --name $target_name --lun 0=ram:128MiB \
		--portal 10.98.0.2:3260 --portal 10.98.1.2:3260 >"$work/target" 2>&1 &
	pids+=($!)
	until_says "$work/target" '^ready'
	in_ns $here "$work/braid" up --name stall --nbd "unix:$work/nbd" \
		--control "unix:$work/control" --initiator-name iqn.2026-01.test.host:stall-$$ \
		iscsi://10.98.{0,1}.2/$target_name/0 >"$work/up" 2>"$work/log" &
	pids+=($!)
	until_says "$work/up" '^ready'
	whole
}

# until_says FILE REGEXP waits for a line.
until_says() {
	local i
	for ((i = 0; i < 150; i++)); do
		grep -qs "$2" "$1" && return
		sleep 0.2
	done
	die "no $2 in $1: $(tail -n 3 "$work/log")"
}

# whole waits until both paths are active.
whole() {
	local i
	for ((i = 0; i < 300; i++)); do
		[ "$(curl -s --unix-socket "$work/control" http://braid/v1/status |
			jq '[.paths[] | select(.state == "active")] | length')" = 2 ] && return
		sleep 0.2
	done
	die "the path does not come back: $(tail -n 5 "$work/log")"
}

break_path() {
	case $1 in
	none) ;;
	drop)
		in_ns $there iptables -A INPUT -i t1 -j DROP
		in_ns $there iptables -A OUTPUT -o t1 -j DROP
		;;
	link-here) ip -n $here link set p1 down ;;
	link-there) ip -n $there link set t1 down ;;
	reset) in_ns $there iptables -A INPUT -i t1 -p tcp -j REJECT --reject-with tcp-reset ;;
	kill) in_ns $here ss -K dst 10.98.1.2 >/dev/null 2>&1 || true ;;
	*) die "no such fault: $1" ;;
	esac
}

mend_path() {
	in_ns $there iptables -F
	ip -n $here link set p1 up
	ip -n $there link set t1 up
}

load() {
	fio --eta=never --output-format=json --output="$work/load" --ioengine=nbd --thread \
		--uri="nbd+unix:///?socket=$work/nbd" --bs=4k --iodepth=8 --randrepeat=0 \
		--name=reads --rw=randread --rate_iops=100 --size=16M --time_based --runtime=8 \
		--name=writes --rw=randwrite --rate_iops=,100 --offset=64M --size=3200k \
		--verify=crc32c --verify_fatal=1 --verify_state_save=0
}

# stall FAULT
stall() {
	local pid row aim=0.2
	[ "$1" != drop ] || aim=2
	load &
	pid=$!
	sleep 3
	break_path "$1"
	wait $pid || die "$1: the load has an error: $(sed '/^{/,$d' "$work/load")"
	mend_path
	whole
	row=$(sed '/^{/,$!d' "$work/load" | jq -c --arg fault "$1" '
		{fault: $fault, read_ms: (.jobs[0].read.lat_ns.max / 1e6 | floor),
		 write_ms: (.jobs[1].write.lat_ns.max / 1e6 | floor),
		 verified: .jobs[1].read.total_ios, errors: ([.jobs[].error] | add)}')
	echo "$row"
	jq -e '.errors == 0 and .verified == 800' <<<"$row" >/dev/null || die "$1: not all is right"
	jq -e --argjson aim $aim '[.read_ms, .write_ms] | max <= ($aim + 0.1) * 1000' <<<"$row" \
		>/dev/null || missed+=("$1")
}

missed=()
(cd "$root" && CGO_ENABLED=0 go build -o "$work/braid" ./cmd/braid)
network
start
for fault in ${*:-none drop link-here link-there reset kill}; do stall "$fault"; done
[ ${#missed[@]} = 0 ] || die "too long: ${missed[*]}"
say "passed"

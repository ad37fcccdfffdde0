# Shared by the tests in a guest (lib.sh) and stall-host.sh: network paths between an
# initiator and a target in a namespace, how one is broken, and waiting for what follows.
# Path N is a pair of veth, pN here and tN there, with the addresses 10.99.N.1 and
# 10.99.N.2. Source it with
#
#   target_space   the name of the target's namespace
#   in_here        a function that runs a command where the initiator is
#   note           a function that tells what happens
#   fail           a function that ends the test
paths=0 # how many there are

network() {
	paths=$1
	ip netns add $target_space
	in_target ip link set lo up
	local i
	for ((i = 0; i < paths; i++)); do
		in_here ip link add p$i type veth peer name t$i netns $target_space
		in_here ip addr add 10.99.$i.1/24 dev p$i
		in_here ip link set p$i up
		in_target ip addr add 10.99.$i.2/24 dev t$i
		in_target ip link set t$i up
	done
}

# within SECONDS COMMAND... tries until it succeeds.
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || fail "not within the time: $*"
		sleep 0.2
	done
}

# Not "ip netns exec": that mounts a /sys of its own, without the folder of Linux's target.
in_target() { nsenter --net=/run/netns/$target_space "$@"; }

# cut_path HOW PATH breaks a path: drop swallows its packets, link-here and link-there take
# the cable out, reset answers every segment with one, kill ends its connection once.
cut_path() {
	note "path $2: $1"
	case $1 in
	none) ;;
	drop)
		in_target iptables -A INPUT -i t$2 -j DROP
		in_target iptables -A OUTPUT -o t$2 -j DROP
		;;
	link-here) in_here ip link set p$2 down ;;
	link-there) in_target ip link set t$2 down ;;
	reset) in_target iptables -A INPUT -i t$2 -p tcp -j REJECT --reject-with tcp-reset ;;
	kill) in_here ss -K dst 10.99.$2.2 >/dev/null 2>&1 || true ;;
	*) fail "a path cannot be cut by $1" ;;
	esac
}

heal_path() {
	note "path $1: restored"
	in_target iptables -F
	in_here ip link set p$1 up
	in_target ip link set t$1 up
}

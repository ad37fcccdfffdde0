# Shared by the tests beside it, in the guest: source it, do not run it.
source /in/guest-tests/lib.sh
trap - ERR

patient=iqn.2026-01.test.guest:host
unit=braid@lun0.service
mnt=/srv/lun0
slow=150 # seconds that an emulated machine may take for anything, when others run beside

# fail shows what may tell why.
fail() {
	trap - ERR
	note "FAILED: $*"
	systemctl --no-pager status $unit | head -n 20 || true
	systemctl --no-pager list-jobs || true
	journalctl -b --no-pager -u $unit -u 'braid-guard@*' -n 40 -o short-monotonic || true
	dmesg | grep -v systemd | tail -n 20
	exit 1
}
set -E
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

# configured writes the configuration of the device lun0, with more lines of its own.
configured() {
	mkdir -p /etc/braid $mnt
	{
		echo "urls = ["
		urls sessions | sed 's/.*/  "&",/'
		echo "]"
		echo 'nbd = "auto"'
		echo "initiator_name = \"$patient\""
		printf '%s\n' "$@"
	} >/etc/braid/lun0.toml
}

configfs() {
	modprobe configfs
	mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
}

# the_target makes networks and the LUN, kept in a file of the host: what was written
# stays after a power failure.
the_target() {
	configfs
	network 2
	target_modules
	lun_file /out/lun.img "${1:-256}"
	portals
}

fstab() { echo "/dev/braid/lun0 $mnt ext4 ${1:-_netdev} 0 2" >>/etc/fstab; }
# disk is the kernel's device. Its number may be any: one that udev looks at when a daemon
# asks for a free one is not free.
disk() { readlink -f /dev/braid/lun0; }
connected() { [ -e "/sys/block/${1#/dev/}/pid" ]; }

property() { systemctl show -P "$1" "${2:-$unit}"; }
active() { [ "$(property ActiveState "${1:-}")" = active ]; }
status() { timeout 5 braid status lun0 -o json; }
all_up() { status | jq -e '[.paths[] | select(.state == "active")] | length == 2' >/dev/null; }
# ready_after is how long the daemon took from its start to its first "ready".
ready_after() {
	local from to
	from=$(property ExecMainStartTimestampMonotonic)
	to=$(property ActiveEnterTimestampMonotonic)
	bc <<<"scale=1; ($to - $from) / 1000000"
}
restarted() { active && [ "$(property MainPID)" != "$1" ]; }

# uptime is in hundredths of a second.
uptime() {
	local up
	read -r up _ </proc/uptime
	echo "${up/./}"
}

# load writes checked files until a file /run/enough is there, and tells in /run/load how
# many, and how long the slowest took. sync makes each reach the device.
load() {
	rm -f /run/enough /run/load
	(
		n=0 slowest=0
		set -e
		while [ ! -e /run/enough ]; do
			began=$(uptime)
			head -c 262144 /dev/urandom >/run/block
			cp /run/block "$mnt/f$((n % 8))"
			sync -f $mnt
			echo 1 >/proc/sys/vm/drop_caches
			cmp /run/block "$mnt/f$((n % 8))"
			n=$((n + 1))
			took=$(($(uptime) - began))
			[ $took -le $slowest ] || slowest=$took
		done
		echo "$n $slowest" >/run/load
	) &
	loader=$!
}

# enough ends the load: enough WHAT LEAST says what happened meanwhile.
enough() {
	touch /run/enough
	wait $loader || fail "the load failed"
	local n slowest
	read -r n slowest </run/load
	note "measured: $1: $n files, the slowest took $(bc <<<"scale=1; $slowest / 100") s"
	[ "$n" -ge "${2:-3}" ] || fail "too few"
}

# lazy keeps what is written in memory until somebody asks for it to be on the device.
lazy() {
	echo 0 >/proc/sys/vm/dirty_writeback_centisecs
	echo 500000000 >/proc/sys/vm/dirty_background_bytes
	echo 600000000 >/proc/sys/vm/dirty_bytes
}

dirty() { awk '/^Dirty/ { print $2 }' /proc/meminfo; }

# off has the machine powered off once the test has ended.
off() {
	note "powering off: $*"
	cut -d . -f 1 /proc/uptime >/out/began
	touch /run/vm-poweroff
}

# Shared by the tests beside it, in the guest: source it, do not run it.
source /in/guest-tests/lib.sh
trap - ERR

unit=braid@lun0.service
mnt=/srv/lun0

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
		echo 'initiator_name = "iqn.2026-01.test.guest:host"'
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
property() { systemctl show -P "$1" "${2:-$unit}"; }
active() { [ "$(property ActiveState "${1:-}")" = active ]; }
status() { timeout 5 braid status lun0 -o json; }
all_up() { status | jq -e '[.paths[] | select(.state == "active")] | length == 2' >/dev/null; }
no_path() { status | jq -e '.state == "queueing"' >/dev/null; }
restarted() { active && [ "$(property MainPID)" != "$1" ]; }

# load writes checked files until a file /run/enough is there, and tells in /run/load how
# it ended. sync makes each reach the device.
load() {
	rm -f /run/enough /run/load
	(
		n=0
		set -e
		while [ ! -e /run/enough ]; do
			head -c 262144 /dev/urandom >/run/block
			cp /run/block "$mnt/f$((n % 8))"
			sync -f $mnt
			echo 1 >/proc/sys/vm/drop_caches
			cmp /run/block "$mnt/f$((n % 8))"
			n=$((n + 1))
		done
		echo "$n" >/run/load
	) &
	loader=$!
}

enough() {
	touch /run/enough
	wait $loader || fail "the load failed"
	note "$(cat /run/load) files written and read back"
	[ "$(cat /run/load)" -ge "${1:-3}" ] || fail "too few"
}

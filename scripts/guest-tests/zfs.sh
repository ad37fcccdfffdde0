# A ZFS pool on the device: written while a path is pulled, scrubbed, exported, imported:
# zfs.sh fuse|module
source /in/guest-tests/lib.sh
pool=tank mnt=/$pool

network 2
target_modules
lun_ram 400
portals
up sessions

if [ "$1" = fuse ]; then
	mkdir -p /var/run/zfs /var/lock/zfs
	modprobe fuse
	zfs-fuse
else
	tar -C / -xf /in/zfs-*.tar
	ldconfig
	depmod
	modprobe zfs
	note "OpenZFS $(cat /sys/module/zfs/version)"
fi
within 15 zpool list
says() {
	zpool status $pool >/run/zpool
	grep -qE "$1" /run/zpool
}
healthy() { says "No known data errors"; }

zpool create -f $pool $device
mkdir $mnt/check
# OpenZFS 2.1 does not keep direct writes and memory maps of one file in step.
/in/fscheck run -cached -dir $mnt/check -state /run/model -files 3 -size 1048576 -for 40s &
check=$!
pull_paths_until_gone $check
wait $check || fail "fscheck"
[ $cuts -gt 0 ] || fail "no path was cut"
note "scrub"
zpool scrub $pool
within 60 says "scrub (repaired|completed)"
healthy || { cat /run/zpool; fail "the pool has errors"; }
grep -E "scrub|errors" /run/zpool

note "export, a new daemon, import"
# zfs-fuse has files open for a moment after their last user has closed them.
within 20 zpool export $pool
within 40 whole
[ "$(counted failovers)" -gt 0 ] || fail "no path was ever lost"
down
up sessions
zpool import -d /dev $pool
/in/fscheck verify -dir $mnt/check -state /run/model
healthy || { cat /run/zpool; fail "the pool has errors"; }
within 20 zpool destroy $pool
down
no_errors
note "passed: $1"

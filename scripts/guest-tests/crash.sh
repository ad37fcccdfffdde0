# What a power failure leaves: the target's LUN is recorded by log-writes, a file system
# on the device is loaded, and then checked as it was at every flush and forced write,
# or so many of them, evenly spread: crash.sh ext4|xfs|btrfs sessions|mcs [lose] [POINTS]
source /in/guest-tests/lib.sh
fs=$1 shape=$2 lose=${3:-} points=${4:-30} seconds=30
# With one session nothing goes on while it is away, which is some seconds.
cut_for=4 heal_for=3
[ $shape$lose != mcslose ] || seconds=75 heal_for=7

network 2
target_modules
modprobe -a dm-log-writes loop
dmsetup create --noudevsync recorded \
	--table "0 $(blockdev --getsz /dev/vdb) log-writes /dev/vdb /dev/vdc"
dmsetup mknodes
lun_block /dev/mapper/recorded
portals
up $shape
/in/braid inquire "$(urls sessions | head -n 1)" | tee /run/inquiry
grep -q 'WCE=1' /run/inquiry || fail "the LUN has no write cache"

make_fs $fs $device
mount_fs $device
mkdir $mnt/check $mnt/records
sync -f $mnt
dmsetup message recorded 0 mark begun
note "load for $seconds s"
/in/fscheck run -dir $mnt/check -state /run/model -files 2 -size 1048576 -for ${seconds}s &
check=$!
/in/fscheck record -dir $mnt/records -last 100000 -for ${seconds}s -- \
	dmsetup message recorded 0 mark >/run/records &
records=$!
if [ "$lose" = lose ]; then
	pull_paths_until_gone $check $records
	[ $cuts -gt 1 ] || fail "only $cuts cuts"
fi
wait $check || fail "fscheck"
wait $records || fail "the records"
umount $mnt
[ "$lose" != lose ] || [ "$(counted failovers)" -gt 0 ] || fail "no path was ever lost"
status | jq -cM '{paths: [.paths[] | {writes, failovers}], flushes}'
down
target_gone
dmsetup remove --noudevsync recorded

note "$(cat /run/records) records; replay"
[ "$(cat /run/records)" -ge 20 ] || fail "too few records"
/in/logwrites -log /dev/vdc -list | awk '{ for (i = 2; i <= 3; i++) n[$i]++ }
	END { print n["flush"] + 0, "flushes,", n["fua"] + 0, "forced,", n["discard"] + 0, "discards" }'
/in/logwrites -log /dev/vdc -size "$(blockdev --getsize64 /dev/vdb)" -after begun -most $points \
	-scratch /tmp -- bash /in/guest-tests/crash-check $fs || fail "a power failure there loses data"
no_errors
note "passed: $fs, $shape $lose"

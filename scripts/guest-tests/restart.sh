# A file system over a target that goes away as a whole, again and again, under load:
# restart.sh ext4|xfs|btrfs sessions|mcs [SECONDS]
source /in/guest-tests/lib.sh
fs=$1 shape=$2 seconds=${3:-70}

network 2
target_modules
lun_block /dev/vdb
[ $shape != mcs ] || time2wait=4
portals
up $shape

make_fs $fs $device
mount_fs $device
mkdir $mnt/check $mnt/fio
note "load for $seconds s"
/in/fscheck run -dir $mnt/check -state /run/model -files 4 -for ${seconds}s &
check=$!
fio --eta=never --name=verified --directory=$mnt/fio --rw=randrw --bsrange=4k-64k --size=24M --direct=1 \
	--ioengine=libaio --iodepth=8 --verify=crc32c --verify_fatal=1 --verify_backlog=128 \
	--time_based --runtime=$seconds --fsync=16 --output=/out/fio &
fio=$!

restarts=0
while alive $check $fio; do
	pause 8 $check $fio
	alive $check $fio || break
	note "the target goes"
	target_gone
	within 20 no_path
	pause 4 $check $fio
	note "the target comes"
	lun_block /dev/vdb
	portals
	restarts=$((restarts + 1))
	within 60 whole
done
wait $check || fail "fscheck"
wait $fio || { tail -n 30 /out/fio; fail "fio"; }
[ $restarts -ge 2 ] || fail "only $restarts restarts"
within 60 whole

note "unmount, check, compare"
umount $mnt
clean $fs $device
mount_fs $device
/in/fscheck verify -dir $mnt/check -state /run/model
umount $mnt
status | jq -cM '{paths: [.paths[] | {reads, writes, failovers, retries}], flushes, fences, replays}'
down
no_errors
note "passed: $fs, $shape, $restarts restarts"

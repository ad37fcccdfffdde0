# A file system over several paths, of which one is cut and restored every 20 s:
# fs.sh ext4|xfs|btrfs sessions|mcs [PATHS [SECONDS]]
source /in/guest-tests/lib.sh
fs=$1 shape=$2 seconds=${4:-62}

network ${3:-2}
target_modules
lun_ram 400
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
	--time_based --runtime=$seconds --fsync=64 --output=/out/fio &
fio=$!
pull_paths_until_gone $check $fio
wait $check || fail "fscheck"
wait $fio || { tail -n 30 /out/fio; fail "fio"; }
[ $cuts -ge $((seconds / 25)) ] || fail "only $cuts cuts"
within 40 whole
[ "$(counted failovers)" -gt 0 ] || fail "no path was ever lost"

note "unmount, check, compare"
umount $mnt
clean $fs $device
mount_fs $device
/in/fscheck verify -dir $mnt/check -state /run/model
/in/fscheck run -dir $mnt/check -state /run/model -files 4 -ops 50
umount $mnt
clean $fs $device
status | jq -cM '{paths: [.paths[] | {reads, writes, failovers, retries}], flushes, fences}'
down
no_errors
note "passed: $fs, $shape, ${3:-2} paths, $cuts cuts"

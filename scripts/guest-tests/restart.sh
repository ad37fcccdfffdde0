# A file system over a target that goes away as a whole, again and again, under load:
# restart.sh ext4|xfs|btrfs sessions|mcs [SECONDS]
source /in/guest-tests/lib.sh
fs=$1 shape=$2 seconds=${3:-70}

network 2
target_modules
lun_block /dev/vdb
portals
up $shape

load_fs $fs $seconds 16

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
loaded
[ $restarts -ge 2 ] || fail "only $restarts restarts"
within 60 whole

compare_fs $fs
status | jq -cM '{paths: [.paths[] | {reads, writes, failovers, retries}], flushes, fences, replays}'
down
no_errors
note "passed: $fs, $shape, $restarts restarts"

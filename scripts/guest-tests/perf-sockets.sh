# What several sockets between the kernel's device and braid are worth: one and two side by
# side, on one LUN in memory, loaded from two processors.
#
#   perf-sockets.sh [SECONDS]    of each measurement; default 4
source /in/guest-tests/lib.sh
source /in/guest-tests/compare.sh
seconds=${1:-4}
jobs=2

network 2
target_modules
lun_ram 512
portals
for n in 1 2; do
	name=sockets-$n device=/dev/nbd$n
	braid_log=/out/braid-$name.log
	up sessions --initiator-name iqn.2026-01.test.guest:$name --nbd-sockets $n
	[ "$(ls /sys/block/nbd$n/mq | wc -l)" = $n ] || fail "not $n sockets"
	subject $name $device
done
for kind in "randread 4k 16" "randwrite 4k 16" "read 1M 4" "write 1M 4"; do
	compare $kind
done
table
ratios sockets-2 sockets-1
no_errors
note passed

# What several sockets between the kernel's device and braid are worth: one and two side by
# side, on one LUN in memory, loaded from two processors.
source /in/guest-tests/lib.sh
source /in/guest-tests/compare.sh
jobs=2

network 2
target_modules
lun_ram 512
portals
for n in 1 2; do
	add_braid sockets-$n sessions "sockets: $n" --nbd-sockets $n
	[ "$(ls /sys/block/${device#/dev/}/mq | wc -l)" = $n ] || fail "not $n sockets"
done
pair "sockets: 2" "sockets: 1"
compare "4 KiB random read" IOPS randread 4k 16
compare "4 KiB random write" IOPS randwrite 4k 16
compare "1 MiB read" MB/s read 1M 4
compare "1 MiB write" MB/s write 1M 4
no_errors
note passed

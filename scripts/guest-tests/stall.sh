# The longest stall of a small steady load when one of two paths breaks, at default
# settings: of braid, and of the kernel's initiator with dm-multipath, in one guest. The load
# and the aims are in stalls.sh; it fails if braid misses one, with 0.3 s allowed to an
# emulated machine.
#
#   stall.sh [INITIATOR...]      braid (Time2Wait 2), braid-0 (Time2Wait 0), multipath;
#                                default: all of them
#   FAULTS="drop reset"          some of the faults only; none, drop, link-here, link-there,
#                                reset (of every segment), kill (of the connection, once)
#   LENGTH=SECONDS               of load for each fault, of which 3 are before it; default 10
source /in/guest-tests/lib.sh
source /in/guest-tests/peers.sh
results=/out/results.jsonl work=/tmp
source /in/guest-tests/stalls.sh
trap 'stall_table | tee /out/table.md' EXIT

network 2
target_modules
lun_ram 256
portals
unsolicited
daemon_of_devices
versions | tee /out/versions

# on DEVICE says what is loaded.
on() { device_options=(--filename=$1 --ioengine=libaio --direct=1); }

time2wait() { echo $1 >$target/iscsi/$iqn/tpgt_1/param/DefaultTime2Wait; }

# with_braid TIME2WAIT has a daemon of its own for each fault: a path that was lost three
# times within a minute would be kept in reserve.
with_braid() {
	local fault who="braid, Time2Wait $1 s"
	time2wait $1
	on $device
	for fault in $faults; do
		echo "--- $who, $fault" >>$braid_log
		up sessions
		[ -s $results ] || fill
		stall "$who" $fault $length within 60 whole
		down
	done
	aim "$who" $1 0.3
}

# with_multipath takes longer, because its stalls do.
with_multipath() {
	local fault
	time2wait 2
	open_iscsi 0 1
	multipath_up
	on $mapped
	fill
	for fault in $faults; do
		stall dm-multipath $fault $((length + 14)) within 60 multipath_whole
		sleep 2
	done
}

for initiator in ${*:-braid braid-0 multipath}; do
	note "$initiator"
	case $initiator in
	braid) with_braid 2 ;;
	braid-0) with_braid 0 ;;
	multipath) with_multipath ;;
	*) fail "no such initiator: $initiator" ;;
	esac
done
judge
note "passed"

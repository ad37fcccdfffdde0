# The longest stall of a small steady load when one of two paths breaks, at default
# settings: of braid, and of the kernel's initiator with dm-multipath, in one guest.
#
#   stall.sh [INITIATOR...]      braid (Time2Wait 2), braid-0 (Time2Wait 0), multipath;
#                                default: all of them
#   FAULTS="drop reset"          some of the faults only; none, drop, link-here, link-there,
#                                reset (of every segment), kill (of the socket, once)
#   FAULTS_MULTIPATH="drop"      these for multipath
#   LOG=debug                    braid's log level
#
# The load is 100 reads and 100 writes of 4 KiB a second, each with 8 at most under way.
# What is read has to be what was written before; what the load wrote is read back and
# checked after each fault; no request may fail. A stall is the longest time between the
# submission of a request and its end. It fails if one of braid's is longer than
#
#   reads    2 s when packets vanish, 0.2 s else
#   writes   the same, or Time2Wait if that is longer
#
# and the allowance of an emulated machine, ALLOW seconds (0.3).
source /in/guest-tests/lib.sh
source /in/guest-tests/peers.sh
initiators=(${*:-braid braid-0 multipath})
faults=${FAULTS:-none drop link-here link-there reset kill}
allow=${ALLOW:-0.3}
before=4  # seconds of load before the fault
missed=() # what took longer than it should
result=/out/stall.jsonl

network 2
target_modules
lun_ram 256
portals
unsolicited
daemon_of_devices
versions | tee /out/versions

# break FAULT does it to path 1.
break_path() {
	case $1 in
	none) ;;
	drop | reset) cut_path $1 1 ;;
	link-here) ip link set p1 down ;;
	link-there) ip -n tgt link set t1 down ;;
	kill) ss -K dst 10.99.1.2 >/dev/null 2>&1 || true ;;
	*) fail "no such fault: $1" ;;
	esac
}

mend_path() {
	heal_path 1 >/dev/null
	ip link set p1 up
}

# reads_at is where the reads are, writes_at where the writes are.
reads_at=0 writes_at=64M

fill() {
	fio --name=fill --filename=$1 --rw=write --bs=4k --size=16M --offset=$reads_at --direct=1 \
		--ioengine=libaio --iodepth=32 --verify=pattern --verify_pattern=%o --do_verify=0 \
		--eta=never --output=/tmp/fill || { cat /tmp/fill; fail "filling"; }
}

# load DEVICE SECONDS
load() {
	fio --eta=never --output-format=json --output=/tmp/load --filename=$1 --ioengine=libaio --direct=1 \
		--bs=4k --iodepth=8 --randrepeat=0 \
		--name=reads --rw=randread --rate_iops=100 --offset=$reads_at --size=16M \
		--time_based --runtime=$2 --verify=pattern --verify_pattern=%o --verify_fatal=1 \
		--name=writes --rw=randwrite --rate_iops=,100 --offset=$writes_at \
		--size=$(($2 * 100 * 4))k --verify=crc32c --verify_fatal=1 --verify_state_save=0
}

# plain is what fio says before its JSON.
plain() { sed '/^{/,$d' /tmp/load | head -n 20; }

# stall INITIATOR DEVICE FAULT SECONDS: one line of the result
stall() {
	local pid began row
	echo "--- $1 $3" >>$braid_log
	{ load $2 $4 || exit 1; } &
	pid=$!
	sleep $before
	break_path $3
	wait $pid || fail "$1, $3: the load has an error: $(plain)"
	began=$(date +%s%N)
	mend_path
	case $1 in
	braid*) within 60 whole ;;
	*) within 60 multipath_whole ;;
	esac
	row=$(jq -c --arg initiator $1 --arg fault $3 --argjson back \
		$((($(date +%s%N) - began) / 1000000)) '
		(.jobs[] | select(.jobname == "reads")) as $r |
		(.jobs[] | select(.jobname == "writes")) as $w |
		{initiator: $initiator, fault: $fault,
		 read_ms: ($r.read.lat_ns.max / 1e6 | floor),
		 write_ms: ($w.write.lat_ns.max / 1e6 | floor),
		 read_p99_ms: ($r.read.clat_ns.percentile["99.000000"] / 1e6 | floor),
		 reads: $r.read.total_ios, writes: $w.write.total_ios, verified: $w.read.total_ios,
		 errors: ($r.error + $w.error), back_ms: $back}' <(sed '/^{/,$!d' /tmp/load))
	echo "$row" | tee -a $result
	[ "$(jq .errors <<<"$row")" = 0 ] || fail "an error"
	[ "$(jq '.verified >= .writes' <<<"$row")" = true ] || fail "not all was read back"
	sleep 2
}

# aim INITIATOR TIME2WAIT compares with what is wanted.
aim() {
	local lines
	mapfile -t lines < <(jq -r --arg initiator $1 --argjson wait $2 --argjson allow $allow '
		select(.initiator == $initiator and .fault != "none") |
		(if .fault == "drop" then 2 else 0.2 end) as $read |
		([$read, $wait] | max) as $write |
		(if .read_ms > ($read + $allow) * 1000 then
			"\($initiator) \(.fault): read \(.read_ms) ms, aim \($read) s" else empty end),
		(if .write_ms > ($write + $allow) * 1000 then
			"\($initiator) \(.fault): write \(.write_ms) ms, aim \($write) s" else empty end)
		' $result)
	missed+=("${lines[@]}")
}

# with_braid INITIATOR TIME2WAIT
with_braid() {
	local fault
	echo $2 >$target/iscsi/$iqn/tpgt_1/param/DefaultTime2Wait
	up sessions --log-level ${LOG:-info}
	fill $device
	for fault in $faults; do stall $1 $device $fault 12; done
	down
	aim $1 $2
}

with_multipath() {
	local fault
	echo 2 >$target/iscsi/$iqn/tpgt_1/param/DefaultTime2Wait
	open_iscsi 0 1
	multipath_up
	fill $mapped
	for fault in ${FAULTS_MULTIPATH:-$faults}; do stall multipath $mapped $fault 24; done
}

for initiator in "${initiators[@]}"; do
	note "$initiator"
	case $initiator in
	braid) with_braid braid 2 ;;
	braid-0) with_braid braid-0 0 ;;
	multipath) with_multipath ;;
	*) fail "no such initiator: $initiator" ;;
	esac
done

echo "| initiator | fault | longest read, s | longest write, s | path back after, s |"
echo "|---|---|---|---|---|"
jq -r '"| \(.initiator) | \(.fault) | \(.read_ms / 1000) | \(.write_ms / 1000) | \(.back_ms / 1000) |"' $result
if [ ${#missed[@]} -gt 0 ]; then
	printf 'missed: %s\n' "${missed[@]}"
	fail "too long"
fi
note "passed"

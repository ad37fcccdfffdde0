# Shared by stall.sh and stall-host.sh: a small steady load while path 1 breaks, and how
# long its requests take at most. Source it after network.sh, with
#
#   results   the file for what was measured
#   work      a folder
#   fail      a function that ends the test
#
# The load is 100 reads and 100 writes of 4 KiB a second, each with 8 at most under way.
# What is read has to be what was written before; what the load wrote is read back and
# checked after each fault; no request may fail. A stall is the longest time between the
# submission of a request and its end. The aims are
#
#   reads    2 s when packets vanish, 0.2 s else
#   writes   the same, or Time2Wait if that is longer
faults=${FAULTS:-none drop link-here link-there reset kill}
length=${LENGTH:-10} # seconds of load
before=3             # seconds of it before the fault
missed=()            # what took longer than it should

fio_on() { fio --eta=never --bs=4k "${device_options[@]}" "$@"; }

# fill writes what is read later. Reads are of the first 16 MiB, writes from 64 MiB on.
fill() {
	fio_on --name=fill --rw=write --size=16M --iodepth=32 --verify=pattern --verify_pattern=%o \
		--do_verify=0 --verify_state_save=0 --output="$work/fill" || fail "filling: $(cat "$work/fill")"
}

load() {
	fio_on --output-format=json --output="$work/load" --iodepth=8 --randrepeat=0 \
		--name=reads --rw=randread --rate_iops=100 --size=16M \
		--time_based --runtime=$1 --verify=pattern --verify_pattern=%o --verify_fatal=1 \
		--name=writes --rw=randwrite --rate_iops=,100 --offset=64M --size=$(($1 * 100 * 4))k \
		--verify=crc32c --verify_fatal=1 --verify_state_save=0
}

# stall INITIATOR FAULT SECONDS RECOVERED... measures one; RECOVERED... waits until the path is
# back. device_options are fio's for the device.
stall() {
	local pid began row
	{ load $3 || exit 1; } &
	pid=$!
	sleep $before
	cut_path $2 1
	wait $pid || fail "$1, $2: the load has an error: $(sed '/^{/,$d' "$work/load" | head -n 20)"
	began=$(date +%s%N)
	heal_path 1
	"${@:4}"
	row=$(sed '/^{/,$!d' "$work/load" | jq -c --arg initiator "$1" --arg fault $2 --argjson back \
		$((($(date +%s%N) - began) / 1000000)) '
		(.jobs[] | select(.jobname == "reads")) as $r |
		(.jobs[] | select(.jobname == "writes")) as $w |
		{initiator: $initiator, fault: $fault,
		 read_ms: ($r.read.lat_ns.max / 1e6 | floor),
		 write_ms: ($w.write.lat_ns.max / 1e6 | floor),
		 reads: $r.read.total_ios, writes: $w.write.total_ios, verified: $w.read.total_ios,
		 errors: ($r.error + $w.error), back_ms: $back}')
	echo "$row" | tee -a "$results"
	jq -e '.errors == 0 and .verified >= .writes' <<<"$row" >/dev/null || fail "not all is right"
}

# aim INITIATOR TIME2WAIT ALLOWED compares with what is wanted; ALLOWED is what a machine may add.
aim() {
	local lines
	mapfile -t lines < <(jq -r --arg initiator "$1" --argjson wait $2 --argjson allow $3 '
		select(.initiator == $initiator and .fault != "none") |
		(if .fault == "drop" then 2 else 0.2 end) as $read |
		([$read, $wait] | max) as $write |
		(if .read_ms > ($read + $allow) * 1000 then
			"\($initiator), \(.fault): read \(.read_ms) ms, aim \($read) s" else empty end),
		(if .write_ms > ($write + $allow) * 1000 then
			"\($initiator), \(.fault): write \(.write_ms) ms, aim \($write) s" else empty end)
		' "$results")
	missed+=("${lines[@]}")
}

# stall_table prints for each fault and initiator the longest read and write, and after how
# long the path was back.
stall_table() {
	[ -s "$results" ] || return 0
	jq -rs 'def first_seen: reduce .[] as $x ([]; if index($x) then . else . + [$x] end);
		(map(.initiator) | first_seen) as $initiators | . as $all |
		"| fault |" + ($initiators | map(" \(.): longest read, write; path back |") | add),
		"|---|" + ($initiators | map("---|") | add),
		(map(.fault) | first_seen)[] as $fault |
		"| \($fault) |" + ([$initiators[] as $i |
			[$all[] | select(.initiator == $i and .fault == $fault) |
				"\(.read_ms / 1000) s, \(.write_ms / 1000) s; \(.back_ms / 1000) s"] |
			" \(join(" ")) |"] | add)' "$results"
}

# judge fails if an aim was missed.
judge() {
	[ ${#missed[@]} = 0 ] || fail "too long: $(printf '%s; ' "${missed[@]}")"
}

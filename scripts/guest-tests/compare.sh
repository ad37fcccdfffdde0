# Shared by perf.sh, perf-sockets.sh and shaped.sh: what is compared, in which order, and the
# table. Source it after lib.sh and peers.sh.
#
#   LENGTH=SECONDS    of each measurement; default 6
length=${LENGTH:-6}
subjects=() pairs=()
declare -A device_of
results=/out/results.jsonl
trap table EXIT

# subject NAME DEVICE
subject() {
	subjects+=("$1")
	device_of[$1]=$2
	note "$1 is $2"
}

# add_braid DAEMON SHAPE SUBJECT [FLAG...] starts a daemon with a device and an initiator name
# of its own.
add_braid() {
	name=$1 device=/dev/nbd${#subjects[@]}
	braid_log=/out/braid-$name.log
	up $2 --initiator-name iqn.2026-01.test.guest:$name "${@:4}"
	subject "$3" $device
}

add_kernel() {
	open_iscsi 0 1
	multipath_up
	subject "dm-multipath, two paths" $mapped
	subject "open-iscsi, one path" "$(disk_of 0)"
}

# compare LOAD UNIT RW BS DEPTH measures all subjects, there and back. UNIT is iops or MB/s.
compare() {
	local i
	for ((i = 0; i < ${#subjects[@]}; i++)); do measure "${subjects[i]}" "$@"; done
	for ((i = ${#subjects[@]} - 1; i >= 0; i--)); do measure "${subjects[i]}" "$@"; done
}

# measure SUBJECT LOAD UNIT RW BS DEPTH, from $jobs processes
measure() {
	fio --name=x --filename=${device_of[$1]} --rw=$4 --bs=$5 --iodepth=$6 --size=256M \
		--ioengine=libaio --direct=1 --time_based --runtime=$length --ramp_time=1 \
		--numjobs=${jobs:-1} --group_reporting --norandommap --randrepeat=0 --eta=never \
		--output-format=json --output=/tmp/fio || { cat /tmp/fio; fail "$*"; }
	jq -c --arg subject "$1" --arg load "$2, depth $6, $3" --arg unit $3 '
		.jobs[0] | (.read, .write) | select(.total_ios > 0) |
		{subject: $subject, load: $load,
		figure: (if $unit == "IOPS" then .iops | floor else .bw_bytes / 1e5 | floor / 10 end),
		p50_us: (.clat_ns.percentile["50.000000"] / 1e3 | floor),
		p99_us: (.clat_ns.percentile["99.000000"] / 1e3 | floor)}' /tmp/fio | tee -a $results
}

# pair A B has the table tell how much faster A is than B.
pair() { pairs+=("$1" "$2"); }

# table prints what each subject reached, there and back, and the ratios of the sums.
table() {
	[ -s $results ] || return 0
	jq -rs 'def first_seen: reduce .[] as $x ([]; if index($x) then . else . + [$x] end);
		. as $all | (map(.load) | first_seen) as $loads |
		def figures($subject; $load):
			[$all[] | select(.subject == $subject and .load == $load).figure];
		def ratio($x; $y): if ($x | length) == ($y | length) and $x != [] then
			($x | add) / ($y | add) * 100 | round / 100 else "" end;
		def line(cell): "| \(.) |" + ([$loads[] | " \(cell) |"] | add);
		("" | line(.)), "|---|" + ($loads | map("---|") | add),
		((map(.subject) | first_seen)[] | . as $s |
			line(figures($s; .) | map(tostring) | join(", "))),
		($ARGS.positional as $p | range(0; $p | length; 2) | [$p[.], $p[. + 1]] as [$a, $b] |
			"\($a) / \($b)" | line(ratio(figures($a; .); figures($b; .))))
		' $results --args "${pairs[@]}" | tee /out/table.md
}

# at_least RATIO A B fails if A is not that much faster than B with any of the loads. Of each
# it takes the better of the two figures: what else the machine does makes them worse only.
at_least() {
	jq -es --argjson r $1 --arg a "$2" --arg b "$3" '
		def best($s): map(select(.subject == $s).figure) | max;
		group_by(.load) | all(best($a) >= $r * best($b))' $results >/dev/null ||
		fail "$2 is not $1 times $3"
}

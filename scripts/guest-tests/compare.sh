# Shared by perf.sh and shaped.sh: what is compared, in which order, and the tables.
# Source it after lib.sh and peers.sh.
subjects=()
declare -A device_of
results=/out/results.jsonl

# subject NAME DEVICE
subject() {
	subjects+=("$1")
	device_of[$1]=$2
	note "$1 is $2"
}

# add_braid sessions|mcs [NAME] starts a daemon of this shape with a device and an initiator
# name of its own.
add_braid() {
	name=${2:-$1} device=/dev/nbd${#subjects[@]}
	braid_log=/out/braid-$name.log
	up $1 --initiator-name iqn.2026-01.test.guest:$name
	subject $name $device
}

add_kernel() {
	open_iscsi 0 1
	multipath_up
	subject multipath $mapped
}

# compare RW BS DEPTH measures all subjects, there and back.
compare() {
	local i
	for ((i = 0; i < ${#subjects[@]}; i++)); do measure ${subjects[i]} "$@"; done
	for ((i = ${#subjects[@]} - 1; i >= 0; i--)); do measure ${subjects[i]} "$@"; done
}

# measure SUBJECT RW BS DEPTH, from $jobs processes
measure() {
	fio --name=x --filename=${device_of[$1]} --rw=$2 --bs=$3 --iodepth=$4 --size=256M \
		--ioengine=libaio --direct=1 --time_based --runtime=$seconds --ramp_time=1 \
		--numjobs=${jobs:-1} --group_reporting --norandommap --randrepeat=0 --eta=never --output-format=json --output=/tmp/fio ||
		{ cat /tmp/fio; fail "$*"; }
	jq -c --arg subject $1 --arg load "$2 $3 x$4" '.jobs[0] | (.read, .write) |
		select(.total_ios > 0) | {subject: $subject, load: $load, iops: (.iops | floor),
		mbs: (.bw_bytes / 1e5 | floor / 10),
		p50_us: (.clat_ns.percentile["50.000000"] / 1e3 | floor),
		p99_us: (.clat_ns.percentile["99.000000"] / 1e3 | floor)}' /tmp/fio | tee -a $results
}

# table prints the mean of there and back, and both.
table() {
	echo "| load | initiator | there | back | mean | p50, ms | p99, ms |"
	echo "|---|---|---|---|---|---|---|"
	jq -rs 'group_by(.load)[] | group_by(.subject)[] | . as $both |
		(if (.[0].load | contains("4k")) then ["iops", "IOPS"] else ["mbs", "MB/s"] end) as [$f, $u] |
		"| \(.[0].load) | \(.[0].subject) | \(.[0][$f]) \($u) | \(.[1][$f]) | " +
		"\(map(.[$f]) | add / length * 10 | floor / 10) | " +
		"\(map(.p50_us) | add / length / 10 | floor / 100) | " +
		"\(map(.p99_us) | max / 10 | floor / 100) |"' $results | tee /out/table
}

# ratios A B prints how much faster A is than B, of each kind of load.
ratios() {
	jq -rs --arg a $1 --arg b $2 'group_by(.load)[] |
		(map(select(.subject == $a).mbs) | add) as $x |
		(map(select(.subject == $b).mbs) | add) as $y |
		"\($a) / \($b), \(.[0].load): \($x / $y * 100 | floor / 100)"' $results | tee -a /out/ratios
}

# at_least RATIO A B LOAD fails if A is not that much faster than B. Of each it takes the
# better of the two figures: what else the machine does makes them worse only.
at_least() {
	jq -es --argjson r $1 --arg a $2 --arg b $3 --arg load "$4" 'map(select(.load == $load)) |
		(map(select(.subject == $a).mbs) | max) >= $r * (map(select(.subject == $b).mbs) | max)' \
		$results >/dev/null || fail "$4: $2 is not $1 times $3"
}

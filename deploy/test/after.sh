# Shared by the tests beside it, on the host, when the guest is off: source it with the
# folder of results.
set -euo pipefail
out=$1
log=$out/kernel.log

wrong() { echo "$*"; exit 1; }

# line PATTERN is where it first stands in the log.
line() { grep -n "$1" "$log" | head -n 1 | cut -d : -f 1; }

# shut_down MOST tells how long it took, and fails if that was longer.
shut_down() {
	local began ended
	began=$(cat "$out/began")
	ended=$(grep -oE '^\[ *[0-9]+\.[0-9]+\]' "$log" | tail -n 1 | tr -d '[] ' | cut -d . -f 1)
	grep -q 'reboot: Power down' "$log" || wrong "it did not power off"
	echo "measured: off after $((ended - began)) s"
	[ $((ended - began)) -le "$1" ] || wrong "too long"
}

# has FILE is true if it is in the LUN's file system as it was written.
has() {
	debugfs -R "cat $1" "$out/lun.img" 2>/dev/null | sha256sum | cmp - "$out/sum" ||
		wrong "what was written to $1 is not there"
}

# unmounted is true of a file system that was unmounted, and has no fault.
unmounted() {
	e2fsck -fn "$out/lun.img" >"$out/fsck" 2>&1 || { cat "$out/fsck"; exit 1; }
	dumpe2fs -h "$out/lun.img" 2>/dev/null | grep -q 'Filesystem state: *clean$' ||
		wrong "not unmounted"
}

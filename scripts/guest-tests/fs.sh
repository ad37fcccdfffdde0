# A file system over several paths, of which one is cut and restored every 20 s:
# fs.sh ext4|xfs|btrfs sessions|mcs [PATHS [SECONDS]]
source /in/guest-tests/lib.sh
fs=$1 shape=$2 seconds=${4:-62}

network ${3:-2}
target_modules
lun_ram 400
portals
up $shape

load_fs $fs $seconds 64
pull_paths_until_gone $check $fio
loaded
[ $cuts -ge $((seconds / 25)) ] || fail "only $cuts cuts"
within 40 whole
[ "$(counted failovers)" -gt 0 ] || fail "no path was ever lost"

compare_fs $fs
status | jq -cM '{paths: [.paths[] | {reads, writes, failovers, retries}], flushes, fences}'
down
no_errors
note "passed: $fs, $shape, ${3:-2} paths, $cuts cuts"

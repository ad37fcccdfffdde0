# One session of several connections loses them all at once, again and again, in a way of
# which the target hears nothing, under verified load: blackout.sh [CONNECTIONS [SECONDS [HOW]]],
# where HOW is drop or reset, of network.sh.
# The kernel of Linux 6.1's target falls when a session of four is merely reinstated then.
source /in/guest-tests/lib.sh
connections=${1:-4} seconds=${2:-120} how=${3:-drop}

network $connections
target_modules
lun_ram 64
portals
up mcs

verified_load --filename=$device $seconds 64
turns=0
while pause 4 $fio && alive $fio; do
	for ((i = 0; i < paths; i++)); do cut_path $how $i; done
	pause $((9 + turns % 5 * 2)) $fio
	heal_path 0 # all of them: the rules go as a whole
	within 60 whole
	turns=$((turns + 1))
done
verified
[ $turns -ge $((seconds / 45)) ] || fail "only $turns turns"
[ "$(counted failovers)" -ge $turns ] || fail "sessions lived on"
status | jq -cM '{paths: [.paths[] | {reads, writes, failovers, retries}], flushes, fences}'
down
no_errors
note "passed: $connections connections, lost $turns times"

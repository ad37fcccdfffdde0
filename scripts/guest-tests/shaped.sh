# How much of two paths is used, if the paths are the limit: 200 Mbit/s each, in each
# direction. One path and two, of braid and of the kernel's initiator, in one guest.
#
#   shaped.sh [SECONDS]    of each measurement; default 5
#
# It fails if two paths are not 2.0 times as fast as one under braid, to one decimal place.
source /in/guest-tests/lib.sh
source /in/guest-tests/peers.sh
source /in/guest-tests/compare.sh
seconds=${1:-5}

network 2
for i in 0 1; do
	tc qdisc replace dev p$i root tbf rate 200mbit burst 256kb latency 100ms
	ip netns exec tgt tc qdisc replace dev t$i root tbf rate 200mbit burst 256kb latency 100ms
done
target_modules
lun_ram 320
portals
unsolicited
daemon_of_devices
versions | tee /out/versions
add_braid sessions
add_braid mcs
paths=1 add_braid sessions one
add_kernel
subject open-iscsi-1 "$(disk_of 0)"

for kind in "read 1M 8" "write 1M 8"; do
	compare $kind
done
table
for shape in sessions mcs; do
	ratios $shape one
done
ratios multipath open-iscsi-1
for shape in sessions mcs; do
	at_least 1.95 $shape one "read 1M x8"
	at_least 1.95 $shape one "write 1M x8"
done
no_errors
note passed

# How much of two paths is used, if the paths are the limit: 200 Mbit/s each, in each
# direction. One path and two, of braid and of the kernel's initiator, in one guest.
#
# It fails if two paths are not 2.0 times as fast as one under braid, to one decimal place.
source /in/guest-tests/lib.sh
source /in/guest-tests/peers.sh
source /in/guest-tests/compare.sh

network 2
for i in 0 1; do
	tc qdisc replace dev p$i root tbf rate 200mbit burst 256kb latency 100ms
	in_target tc qdisc replace dev t$i root tbf rate 200mbit burst 256kb latency 100ms
done
target_modules
lun_ram 320
portals
unsolicited
daemon_of_devices
versions | tee /out/versions
one="braid, one path" two="braid, two sessions" mcs="braid, MC/S, two connections"
add_braid two sessions "$two"
add_braid mcs mcs "$mcs"
paths=1 add_braid one sessions "$one"
add_kernel

pair "$two" "$one"
pair "$mcs" "$one"
pair "dm-multipath, two paths" "open-iscsi, one path"
compare "1 MiB read" MB/s read 1M 8
compare "1 MiB write" MB/s write 1M 8
at_least 1.95 "$two" "$one"
at_least 1.95 "$mcs" "$one"
no_errors
note passed

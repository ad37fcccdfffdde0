# Speed side by side, in one guest: braid with two sessions and with one session of two
# connections, the kernel's initiator with one session and with two under dm-multipath,
# and QEMU's initiator behind qemu-nbd and nbd-client.
#
#   perf.sh [SECONDS]    of each measurement; default 4
#
# All are set up at once, on one LUN in memory, and only one is loaded at a time: for each
# kind of load A B C D E, then E D C B A, so that what the machine does besides hits all
# alike. Under emulation only the ratios mean anything.
source /in/guest-tests/lib.sh
source /in/guest-tests/peers.sh
source /in/guest-tests/compare.sh
seconds=${1:-4}

network 2
target_modules
lun_ram 512
portals
unsolicited
daemon_of_devices
versions | tee /out/versions
add_braid sessions
add_braid mcs
add_kernel
qemu_nbd /dev/nbd2 2
subject qemu-nbd /dev/nbd2
subject open-iscsi-1 "$(disk_of 0)"

for kind in "randread 4k 32" "randwrite 4k 32" "read 1M 8" "write 1M 8"; do
	compare $kind
done
table
ratios sessions open-iscsi-1
ratios mcs open-iscsi-1
ratios sessions multipath
ratios mcs multipath
ratios sessions qemu-nbd
ratios mcs qemu-nbd
ratios multipath open-iscsi-1
no_errors
note passed

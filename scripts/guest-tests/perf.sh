# Speed side by side, in one guest: braid with two sessions and with one session of two
# connections, the kernel's initiator with one session and with two under dm-multipath,
# and QEMU's initiator behind qemu-nbd and nbd-client.
#
# All are set up at once, on one LUN in memory, and only one is loaded at a time: for each
# kind of load A B C D E, then E D C B A, so that what the machine does besides hits all
# alike. Under emulation only the ratios mean anything.
source /in/guest-tests/lib.sh
source /in/guest-tests/peers.sh
source /in/guest-tests/compare.sh

network 2
target_modules
lun_ram 512
portals
unsolicited
daemon_of_devices
versions | tee /out/versions
two="braid, two sessions" mcs="braid, MC/S, two connections"
add_braid two sessions "$two"
add_braid mcs mcs "$mcs"
add_kernel
qemu_nbd /dev/nbd2 2
subject "qemu-nbd and nbd-client, one path" /dev/nbd2

for peer in "${subjects[@]:2}"; do
	pair "$two" "$peer"
	pair "$mcs" "$peer"
done
compare "4 KiB random read" IOPS randread 4k 32
compare "4 KiB random write" IOPS randwrite 4k 32
compare "1 MiB read" MB/s read 1M 8
compare "1 MiB write" MB/s write 1M 8
no_errors
note passed

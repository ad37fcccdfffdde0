# Power off with a mounted file system, data that was not synced, and no path: bounded,
# and the log tells why data is lost.
source /in/test/lib.sh
paths=2
within 60 mountpoint -q $mnt
within 30 all_up
head -c 8M /dev/urandom >/run/random
cp /run/random $mnt/synced
sync -f $mnt
sha256sum <$mnt/synced >/out/sum
cut_path drop 0
cut_path link 1
cp /run/random $mnt/unsynced
within 40 no_path

note "udev keeps off a device that cannot answer"
before=$(readlink -f /dev/disk/by-label/data)
[ "$before" = /dev/nbd0 ]
udevadm trigger --action=change /dev/nbd0
udevadm trigger --action=add /dev/nbd0
timeout 20 udevadm settle --timeout=15 || fail "udev hangs"
for link in /dev/braid/lun0 /dev/disk/by-label/data; do
	[ "$(readlink -f $link)" = /dev/nbd0 ] || fail "$link is gone"
done
udevadm info /dev/nbd0 | grep -q BRAID_READABLE=0
mountpoint -q $mnt

note "powering off without a path"
cut -d . -f 1 /proc/uptime >/out/began
touch /run/vm-poweroff

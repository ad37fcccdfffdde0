# Power off with a mounted file system, data that was not synced, and no path: bounded,
# and the log tells why data is lost.
source /in/test/lib.sh
paths=2
within $slow mountpoint -q $mnt
within $slow all_up
udevadm settle --timeout=$slow
head -c 8M /dev/urandom >/run/random
cp /run/random $mnt/synced
sync -f $mnt
sha256sum <$mnt/synced >/out/sum
# Before the paths are cut: after that, even to make a file may wait for the journal.
lazy
cp /run/random $mnt/unsynced
cut_path drop 0
cut_path link 1
[ "$(dirty)" -gt 6000 ] || fail "nothing is left to write"
within $slow no_path

note "udev keeps off a device that cannot answer"
before=$(readlink -f /dev/disk/by-label/data)
[ "$before" = "$(disk)" ]
udevadm trigger --action=change "$before"
udevadm trigger --action=add "$before"
timeout 65 udevadm settle --timeout=60 || fail "udev hangs"
for link in /dev/braid/lun0 /dev/disk/by-label/data; do
	[ "$(readlink -f $link)" = "$before" ] || fail "$link is gone"
done
udevadm info "$before" | grep -q BRAID_READABLE=0
mountpoint -q $mnt

off "without a path"

# The target cannot be reached at boot. The mount waits for it, and is there when it is.
# Then a mount by hand, without _netdev: it too is unmounted before the daemon ends.
source /in/test/lib.sh
paths=2
sleep 40
[ "$(property ActiveState)" = activating ] || fail "the daemon does not wait for its target"
[ "$(property ActiveState srv-lun0.mount)" = inactive ]
mountpoint -q $mnt && fail "mounted without a target"
[ "$(property NRestarts)" = 0 ]
note "the target comes up"
target_modules
lun_file /out/lun.img 256
portals
began=$(uptime)
within $slow mountpoint -q $mnt
note "measured: mounted $(bc <<<"scale=1; ($(uptime) - $began) / 100") s after the target came"
active
within $slow all_up
disk=$(disk)
umount $mnt
mkdir -p /mnt/byhand
mount "$disk" /mnt/byhand
lazy
head -c 32M /dev/urandom >/run/random
cp /run/random /mnt/byhand/unsynced
sha256sum </mnt/byhand/unsynced >/out/sum
off "a mount by hand, $(dirty) kB of dirty pages"
[ "$(dirty)" -gt 25000 ] || fail "they are not"

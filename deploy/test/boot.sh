# After a boot the file system is mounted, by its line in /etc/fstab alone. Then the
# machine is powered off, in order, with data that was not synced: nothing is lost.
source /in/test/lib.sh
within $slow mountpoint -q $mnt
active
note "measured: the daemon was ready $(ready_after) s after it was started"
[ "$(findmnt -no SOURCE $mnt)" = "$(disk)" ]
within $slow systemctl is-active --quiet remote-fs.target
systemctl list-dependencies --no-pager --plain dev-braid-lun0.device | grep -q "$unit" ||
	fail "the device does not want its daemon"
[ "$(property UnitFileState)" = disabled ]
within $slow all_up
lazy
head -c 48M /dev/urandom >/run/random
cp /run/random $mnt/unsynced
sha256sum <$mnt/unsynced >/out/sum
off "$(dirty) kB of dirty pages"
[ "$(dirty)" -gt 40000 ] || fail "they are not"

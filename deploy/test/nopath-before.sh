# Before the boot: the package, a device in /etc/fstab, and a target with a file system
# on its LUN, which will be out of reach.
source /in/test/lib.sh
dpkg -i /in/braid_0.0.2_*.deb >/dev/null
truncate -s 256M /out/lun.img
mkfs.ext4 -q -L data /out/lun.img
the_target
configured
fstab

# Before the boot: the package, a device in /etc/fstab, and no target yet.
source /in/test/lib.sh
dpkg -i /in/braid_0.0.2_*.deb >/dev/null
truncate -s 256M /out/lun.img
mkfs.ext4 -q -L data /out/lun.img
configfs
network 2
configured 'start_timeout = "0s"'
fstab

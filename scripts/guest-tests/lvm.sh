# LVM on the device: volumes, a file system that grows while a path is pulled, a snapshot,
# and the whole put away and found again.
source /in/guest-tests/lib.sh
# There is no udev here: LVM makes its device nodes itself.
export DM_DISABLE_UDEV=1
lvm_config='activation{udev_sync=0 udev_rules=0 monitoring=0} devices{obtain_device_list_from_udev=0 use_devicesfile=0 issue_discards=1} global{event_activation=0}'
l() {
	local code=0
	"$1" --config "$lvm_config" "${@:2}" >/run/lvm 2>&1 || code=$?
	cat /run/lvm
	return $code
}

network 2
target_modules
modprobe -a dm-mod dm-snapshot
lun_ram 400
portals
up sessions

l pvcreate $device
l vgcreate vg $device
l lvcreate -qq -n data -L 120M vg
l lvcreate -qq -n other -L 40M vg
mkfs.ext4 -q /dev/vg/data
mount_fs /dev/vg/data
mkdir $mnt/check
/in/fscheck run -dir $mnt/check -state /run/model -files 3 -size 2097152 -for 40s &
check=$!
pause 5 $check
cut_path reset 0
l lvextend -L +60M vg/data
resize2fs /dev/vg/data 2>&1 | tail -n 1
heal_path 0
pause 8 $check
cut_path drop 1
l lvcreate -qq -s -n before -L 60M vg/data
note "snapshot taken"
pause 8 $check
heal_path 1
wait $check || fail "fscheck"
[ "$(df -m --output=size $mnt | tail -n 1)" -gt 140 ] || fail "it has not grown"
# The snapshot is a whole file system of the moment when it was taken.
mkdir /mnt/before
mount -o ro /dev/vg/before /mnt/before
ls /mnt/before/check >/dev/null
umount /mnt/before $mnt
e2fsck -fn /dev/vg/before
l lvremove -qq -y vg/before

note "put away, and found again by a new daemon"
l vgchange -an vg
within 40 whole
down
up sessions
l vgchange -ay vg
e2fsck -fn /dev/vg/data
mount_fs /dev/vg/data
/in/fscheck verify -dir $mnt/check -state /run/model
umount $mnt
l vgchange -an vg
l vgremove -qq -ff -y vg
l pvremove -qq $device
down
no_errors
note "passed"

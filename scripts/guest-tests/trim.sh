# What a file system frees reaches the LUN: trim.sh file|block
# file: the LUN is a sparse file, which gets smaller; block: a disk that counts discards.
source /in/guest-tests/lib.sh
megabytes=60

network 2
target_modules
case $1 in
file)
	mkdir /backing
	mount -t tmpfs -o size=700M tmpfs /backing
	lun_file /backing/lun 400
	;;
block) lun_block /dev/vdb ;;
esac
provisioning
portals
up sessions

# in_use prints how many MB the file has, freed how many MB the disk was told to forget.
in_use() { du -m /backing/lun | cut -f 1; }
freed() { awk '{ print int($14 / 2048) }' /sys/block/vdb/stat; }

[ "$(cat /sys/block/nbd0/queue/discard_max_bytes)" -gt 0 ] || fail "the device takes no discards"
mkfs.ext4 -q -E nodiscard $device
mount_fs $device
dd if=/dev/urandom of=$mnt/big bs=1M count=$megabytes conv=fsync status=none
echo "stays" >$mnt/small
sync -f $mnt
[ "$1" != file ] || before=$(in_use)
[ "$1" != block ] || before=$(freed)
rm $mnt/big
sync -f $mnt
fstrim -v $mnt
case $1 in
file)
	after=$(in_use)
	note "the file had $before MB, and has $after"
	[ $((before - after)) -ge $((megabytes - 4)) ] || fail "too little was freed"
	;;
block)
	after=$(freed)
	note "$((after - before)) MB were discarded"
	[ $((after - before)) -ge $((megabytes - 4)) ] || fail "too little was discarded"
	;;
esac
umount $mnt
e2fsck -fn $device
mount_fs $device
[ "$(cat $mnt/small)" = stays ] || fail "more was freed than should be"
umount $mnt

note "discard it all"
blkdiscard -f $device
if [ "$1" = file ]; then
	[ "$(in_use)" -le 1 ] || fail "the file still has $(in_use) MB"
	cmp -n $((64 << 20)) $device /dev/zero
fi
status | jq -cM '{paths: [.paths[] | {writes, retries, failovers}], flushes}'
down
no_errors
note "passed: $1"

# Memory full of dirty pages of a file system on the device: they can only be written by a
# daemon that itself needs memory. It must go on, and the pages must get out.
source /in/guest-tests/lib.sh

network 2
target_modules
lun_block /dev/vdb
portals
up sessions

# Every thread is marked so that its own allocations never wait for I/O (PF_MEMALLOC_NOIO),
# which is what PR_SET_IO_FLUSHER does.
for stat in /proc/$braid/task/*/stat; do
	flags=$(sed 's/.*) //' $stat | cut -d ' ' -f 7)
	((flags & 0x80000)) || fail "thread $stat is not marked: flags $flags"
done
[ "$(cat /proc/$braid/oom_score_adj)" -lt 0 ] || fail "the daemon may be killed when memory is short"
grep -q '^VmLck:.* [1-9]' /proc/$braid/status || note "nothing of the daemon is locked in memory"

make_fs ext4 $device
mount_fs $device
echo 90 >/proc/sys/vm/dirty_ratio
echo 85 >/proc/sys/vm/dirty_background_ratio
total=$(($(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo) / 1024))
size=$((total * 5 / 4))
note "$total MB of memory, $size MB to be written"
head -c 1M /dev/urandom >/run/pattern
patterns() { local i; for ((i = 0; i < size; i++)); do cat /run/pattern; done; }
patterns >$mnt/big &
writer=$!
# And a program that wants a third of the memory for itself.
(head -c $((total / 3 << 20)) /dev/zero | tail -c 1 >/dev/null) &
hog=$!
peak=0 i=0
while alive $writer; do
	dirty=$(($(sed -n 's/^Dirty: *\([0-9]*\).*/\1/p' /proc/meminfo) / 1024))
	[ $dirty -le $peak ] || peak=$dirty
	i=$((i + 1))
	[ $i != 20 ] || cut_path reset 0
	[ $i != 40 ] || heal_path 0
	sleep 0.5
done
wait $writer || fail "the writer"
wait $hog || true # it may have been killed: the daemon must not
[ $i -gt 20 ] && [ $i -le 40 ] && heal_path 0
sync
note "at most $peak MB were dirty"
[ $peak -gt $((total / 4)) ] || fail "memory was never full of dirty pages"
alive $braid || fail "braid is gone"
umount $mnt
mount_fs $device
[ "$(stat -c %s $mnt/big)" = $((size << 20)) ] || fail "the file's size"
cmp $mnt/big <(patterns) || fail "the file's content"
umount $mnt
clean ext4 $device
within 40 whole
down
no_errors
note "passed"

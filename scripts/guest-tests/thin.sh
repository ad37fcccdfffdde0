# A LUN that promises more than it has, and is full: thin.sh file|pool
# file: braid's own target on a file system of 48 MB, which says what is the matter, so that
# the client is told ENOSPC. pool: the Linux target on a thin volume; it calls every error
# of its disk a unit that is not ready, so that the client is told EIO, in bounded time.
# Either way the device goes on, and all is well once there is room.
source /in/guest-tests/lib.sh
via=socket
room=48

network 2
if [ "$1" = file ]; then
	want="No space left on device"
	mkdir /backing
	mount -t tmpfs -o size=${room}M tmpfs /backing
	in_target /in/braid target --name $iqn --thin --lun 0=file:/backing/lun,512MiB \
		--portal 10.99.0.2:3260 --portal 10.99.1.2:3260 >/run/target 2>/out/target.log &
	within 10 grep -q ready /run/target
else
	want="Input/output error"
	target_modules
	modprobe dm-thin-pool
	export DM_DISABLE_UDEV=1
	dmsetup create meta --table "0 8192 linear /dev/vdb 0"
	dmsetup create room --table "0 $((room * 2048)) linear /dev/vdb 8192"
	dd if=/dev/zero of=/dev/mapper/meta bs=4k count=1 status=none
	pool_table() { echo "0 $(($1 * 2048)) thin-pool /dev/mapper/meta /dev/mapper/room 128 0 1 error_if_no_space"; }
	dmsetup create pool --table "$(pool_table $room)"
	dmsetup message pool 0 "create_thin 0"
	dmsetup create thin --table "0 $((512 * 2048)) thin /dev/mapper/pool 0"
	lun_block /dev/mapper/thin
	provisioning
	portals
fi
serve_only=yes
up sessions

# io COMMAND prints what qemu-io says to it; its status says less.
io() { timeout 30 qemu-io -f raw -t none -c "$1" "nbd+unix:///?socket=$socket" 2>&1 || true; }
well() { ! io "$1" | grep -iE 'failed|error|not|verif'; }

well "write -P 1 0 32M" || fail "there was room for this"
began=$SECONDS
said=$(for m in 100 110 120; do io "write -P 2 ${m}M 10M"; io flush; done)
echo "$said"
note "it took $((SECONDS - began)) s"
grep -q "$want" <<<"$said" || fail "the client was not told: $want"
[ "$(grep -c "failed" <<<"$said")" -ge 2 ] || fail "more was taken than there is room for"

note "what was there is there, and the device goes on"
well "read -P 1 0 32M" || fail "what was written before is gone"
well "write -P 3 0 1M" || fail "what has its room cannot be written"
within 20 whole
if [ "$1" = file ]; then
	well "discard 8M 24M" || fail "discard"
else
	# More room: the volume's administrator makes the pool larger.
	dmsetup suspend pool
	dmsetup reload room --table "0 $((4 * room * 2048)) linear /dev/vdb 8192"
	dmsetup suspend room
	dmsetup resume room
	dmsetup reload pool --table "$(pool_table $((4 * room)))"
	dmsetup resume pool
fi
well "write -P 4 200M 10M" || fail "there is room again"
well "read -P 4 200M 10M" || fail "what was written is not there"
well flush || fail "flush"
status | jq -cM '{state, paths: [.paths[] | {state, writes, retries, failovers}], flushes}'
down
note "passed: $1"

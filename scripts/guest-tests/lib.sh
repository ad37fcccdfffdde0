# Shared by the tests beside it, in the guest: networks, the Linux target, braid, faults.
# Source it, do not run it.
set -euo pipefail
cd /tmp
export LC_ALL=C

iqn=iqn.2026-01.test.guest:lun
target=/sys/kernel/config/target
device=/dev/nbd0
name=disk
mnt=/mnt/$name
braid_log=/out/braid.log

note() { printf '%7.1f %s\n' "$(cut -d ' ' -f 1 /proc/uptime)" "$*"; }

# fail ends the test and shows what may tell why.
fail() {
	trap - ERR
	note "FAILED: $*"
	echo "--- status"
	timeout 5 /in/braid status $name || true
	echo "--- the end of braid's log"
	tail -n 40 $braid_log 2>/dev/null || true
	echo "--- the end of the kernel's log"
	dmesg | tail -n 30
	exit 1
}
set -E
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

# ---- network

target_space=tgt
in_here() { "$@"; }
source /in/guest-tests/network.sh

# serve_in_target is for the background: $! is the program itself then.
serve_in_target() { exec nsenter --net=/run/netns/$target_space "$@"; }

# pull_paths_until_gone PID... cuts one path after the other, each for $cut_for seconds
# with $heal_for before and after, until the processes have ended; how it is cut changes.
# How often is in $cuts.
cut_for=8 heal_for=6
pull_paths_until_gone() {
	local how=(drop link-there reset) i
	cuts=0
	while alive "$@"; do
		i=$((cuts % paths))
		pause $heal_for "$@"
		alive "$@" || break
		cut_path ${how[cuts % 3]} $i
		cuts=$((cuts + 1))
		pause $cut_for "$@"
		heal_path $i
		pause $heal_for "$@"
	done
}

alive() { kill -0 "$@" 2>/dev/null; }

# pause SECONDS PID... waits, but not longer than all processes live.
pause() {
	local end=$((SECONDS + $1))
	shift
	while [ $SECONDS -lt $end ] && alive "$@"; do sleep 0.2; done
}

# ---- the Linux target

target_modules() {
	mkdir -p /etc/target/pr /var/target/{alua,pr}
	modprobe -a target_core_mod target_core_iblock target_core_file iscsi_target_mod
}

# lun_ram MB, lun_block DEVICE, lun_file FILE MB make the backing of the LUN, with a
# write cache, and set $store.
lun_ram() {
	store=$target/core/rd_mcp_0/lun
	mkdir -p $store
	echo "rd_pages=$(($1 * 256))" >$store/control
	enable_store
	echo 1 >$store/attrib/emulate_write_cache
}

lun_block() {
	store=$target/core/iblock_0/lun
	mkdir -p $store
	echo "udev_path=$1" >$store/control
	enable_store
}

lun_file() {
	store=$target/core/fileio_0/lun
	mkdir -p $store
	truncate -s "$2M" "$1"
	echo "fd_dev_name=$1,fd_dev_size=$(($2 << 20)),fd_buffered_io=1" >$store/control
	enable_store
	echo 1 >$store/attrib/emulate_write_cache
}

enable_store() {
	echo "guest-test" >$store/wwn/vpd_unit_serial
	echo 1 >$store/enable
}

# provisioning turns UNMAP and WRITE SAME with UNMAP on, and promises zeroes.
provisioning() {
	local a
	for a in emulate_tpu emulate_tpws; do
		echo 1 >$store/attrib/$a
	done
}

# portals makes the target, with one portal on each path. patient is an initiator's name
# for which it waits longer than its 3 s for the data of a write that it has asked for: an
# emulated machine may take that long.
patient=
portals() {
	local group=$target/iscsi/$iqn/tpgt_1 i
	mkdir -p $group
	echo 0 >$group/attrib/authentication
	echo 1 >$group/attrib/generate_node_acls
	echo 1 >$group/attrib/cache_dynamic_acls
	echo 0 >$group/attrib/demo_mode_write_protect
	echo 64 >$group/attrib/default_cmdsn_depth
	echo 8 >$group/param/MaxConnections
	mkdir -p $group/lun/lun_0
	ln -s $store $group/lun/lun_0/link
	if [ -n "$patient" ]; then
		mkdir -p $group/acls/$patient/lun_0
		ln -s $group/lun/lun_0 $group/acls/$patient/lun_0/link
		echo 60 >$group/acls/$patient/attrib/dataout_timeout
	fi
	for ((i = 0; i < paths; i++)); do
		# The listening socket belongs to the namespace of the shell that asks for it.
		in_target mkdir $group/np/10.99.$i.2:3260
	done
	echo 1 >$group/enable
}

# ---- braid

# urls SHAPE prints what braid is given: of "sessions" one URL for each path, of "mcs" one
# with all of them.
urls() {
	local i list=
	for ((i = 0; i < paths; i++)); do
		case $1 in
		sessions) echo iscsi://10.99.$i.2/$iqn/0 ;;
		mcs) list=$list${list:+,}10.99.$i.2 ;;
		esac
	done
	[ "$1" != mcs ] || echo iscsi://$list/$iqn/0
}

# up SHAPE FLAG... starts braid and waits until it is ready and all paths are there. With
# VIA=socket it serves a socket, and nbd-client makes the kernel device of it, but for
# a test that sets serve_only and works on the socket.
via=${VIA:-kernel}
serve_only=
socket=/run/$name.nbd

up() {
	shape=$1
	shift
	local serve=$device line= list
	[ $via = kernel ] || serve=unix:$socket
	mapfile -t list < <(urls $shape)
	modprobe nbd
	mkfifo /run/ready
	/in/braid up --name $name --nbd $serve --initiator-name iqn.2026-01.test.guest:host "$@" \
		"${list[@]}" >/run/ready 2>>$braid_log &
	braid=$!
	read -r -t 40 line </run/ready || true
	rm /run/ready
	note "${line:-braid says nothing}"
	[ "$line" = "ready $name $serve" ] || fail "not ready"
	if [ $via = socket ] && [ -z "$serve_only" ]; then
		nbd-client -unix $socket $device -N $name >/dev/null
	fi
	within 30 whole
}

status() { timeout 5 /in/braid status $name -o json; }

# whole tells whether all paths are active, and all their connections up.
whole() {
	local want="$paths 1"
	[ "$shape" != mcs ] || want="1 $paths"
	[ "$(status | jq -r '[.paths[] | select(.state == "active")] |
		"\(length) \([.[] | [.connections[] | select(.state == "up")] | length] | min)"')" = "$want" ]
}

# no_path tells whether the device has lost its last path.
no_path() { status | jq -e '.state == "queueing"' >/dev/null; }

# down ends braid in order.
down() {
	if [ $via = socket ] && [ -z "$serve_only" ]; then
		nbd-client -d $device >/dev/null
	fi
	kill -TERM $braid
	local code=0
	wait $braid || code=$?
	[ $code = 0 ] || fail "braid ended with $code"
	within 5 [ ! -e /sys/block/${device#/dev/}/pid ]
}

# counted prints a sum over all paths, like: counted failovers
counted() { status | jq "[.paths[].$1] | add"; }

# no_errors looks for what the kernel has to complain about.
no_errors() {
	if dmesg | grep -E "I/O error|Buffer I/O|EXT4-fs (error|warning)|XFS .*(orrupt|shut)|BTRFS.*(error|orrupt)|blocked for more"; then
		fail "the kernel complains"
	fi
}

# ---- file systems

make_fs() {
	case $1 in
	ext4) mkfs.ext4 -q -F $2 ;;
	xfs) mkfs.xfs -q -f $2 ;;
	btrfs) mkfs.btrfs -q -f $2 ;;
	esac
}

# clean FS DEVICE... is true of a file system without a fault, and changes nothing.
clean() {
	case $1 in
	ext4) e2fsck -fn "${@:2}" ;;
	xfs) xfs_repair -n "${@:2}" ;;
	btrfs) btrfs check --readonly "${@:2}" ;;
	esac
}

mount_fs() {
	mkdir -p $mnt
	mount "$@" $mnt
}

# verified_load WHERE SECONDS WRITES has fio write and compare, with a flush after so many
# writes, in the background ($fio). WHERE is its option for a folder or a device.
verified_load() {
	fio --eta=never --name=verified $1 --rw=randrw --bsrange=4k-64k --size=24M --direct=1 \
		--ioengine=libaio --iodepth=8 --verify=crc32c --verify_fatal=1 --verify_backlog=128 \
		--time_based --runtime=$2 --fsync=$3 --output=/out/fio &
	fio=$!
}

verified() { wait $fio || { tail -n 30 /out/fio; fail "fio"; }; }

# load_fs FS SECONDS WRITES makes and mounts a file system, and loads it with that and with
# random operations against a model ($check).
load_fs() {
	make_fs $1 $device
	mount_fs $device
	mkdir $mnt/check $mnt/fio
	note "load for $2 s"
	/in/fscheck run -dir $mnt/check -state /run/model -files 4 -for ${2}s &
	check=$!
	verified_load --directory=$mnt/fio $2 $3
}

# loaded waits for the end of that load, which may have met no error.
loaded() {
	wait $check || fail "fscheck"
	verified
}

# compare_fs FS unmounts it, checks it, compares what is there with the model, and does
# some more.
compare_fs() {
	note "unmount, check, compare"
	umount $mnt
	clean $1 $device
	mount_fs $device
	/in/fscheck verify -dir $mnt/check -state /run/model
	/in/fscheck run -dir $mnt/check -state /run/model -files 4 -ops 50
	umount $mnt
	clean $1 $device
}

# target_gone takes the target away, so that what backs its LUN is free.
target_gone() {
	local group=$target/iscsi/$iqn/tpgt_1
	echo 0 >$group/enable
	rm $group/lun/lun_0/link
	rmdir $group/lun/lun_0 $group/np/* $group $target/iscsi/$iqn $store
}

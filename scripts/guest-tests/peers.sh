# Shared by the comparisons: the kernel's own initiator with dm-multipath, and QEMU's
# initiator behind its NBD server, on the target that lib.sh makes. Source it after lib.sh.

# How the kernel's initiator and dm-multipath are set up here: as Debian ships them, but
# that every LUN is taken, not only one that was named before.
multipath_conf='defaults {
	user_friendly_names yes
	find_multipaths no
}'

# unsolicited lets the target take as much of a write with the command as all of the
# initiators here offer to send, so that none of them has to wait to be asked.
unsolicited() {
	local group=$target/iscsi/$iqn/tpgt_1
	echo No >$group/param/InitialR2T
	echo Yes >$group/param/ImmediateData
	echo 262144 >$group/param/FirstBurstLength
	echo 1048576 >$group/param/MaxBurstLength
	echo 262144 >$group/param/MaxRecvDataSegmentLength
	echo 8 >$group/param/MaxOutstandingR2T
}

# daemon_of_devices starts udevd, without which neither iscsiadm nor multipathd works.
daemon_of_devices() {
	/lib/systemd/systemd-udevd -d 2>/dev/null
	udevadm trigger
	udevadm settle
}

# open_iscsi PATH... logs in by each of these paths.
open_iscsi() {
	modprobe -a iscsi_tcp sd_mod sg
	if ! pgrep -x iscsid >/dev/null; then
		echo "InitiatorName=iqn.2026-01.test.guest:kernel" >/etc/iscsi/initiatorname.iscsi
		iscsid
		sleep 1
		iscsiadm -m discovery -t st -p 10.99.0.2 >/dev/null
	fi
	local i
	for i in "$@"; do
		iscsiadm -m node -T $iqn -p 10.99.$i.2:3260,1 -l >/dev/null
		within 20 disk_of $i >/dev/null
	done
	udevadm settle
}

# disk_of PATH prints the disk that the kernel has by this path.
disk_of() {
	local session disk
	for session in /sys/class/iscsi_session/session*; do
		grep -qx "10.99.$1.2" $session/device/connection*/iscsi_connection/*/persistent_address \
			2>/dev/null || continue
		for disk in $session/device/target*/*/block/sd*; do
			[ -e $disk ] || continue
			echo /dev/${disk##*/}
			return
		done
	done
	return 1
}

# multipath_up makes one device of all of the kernel's disks and sets $mapped.
multipath_up() {
	modprobe -a dm-multipath dm-service-time dm-round-robin dm-queue-length scsi_dh_alua
	echo "$multipath_conf" >/etc/multipath.conf
	multipathd
	within 30 multipath_whole
	# Its name in /dev comes from udevd, a moment later.
	within 20 compgen -G '/dev/mapper/mpath?' >/run/mapped
	mapped=$(cat /run/mapped)
	multipathd show config local >/out/multipath.conf
	multipath -ll >/out/multipath
}

# multipath_whole tells whether all paths are there and work.
multipath_whole() {
	[ "$(multipath -ll 2>/dev/null | grep -c 'active ready running')" = $paths ]
}

# qemu_nbd DEVICE CONNECTIONS makes it of path 0.
qemu_nbd() {
	modprobe nbd
	qemu-nbd -t -f raw -k /run/qemu-nbd -e 8 --cache=none --discard=unmap \
		iscsi://10.99.0.2/$iqn/0 &
	within 20 [ -S /run/qemu-nbd ]
	nbd-client -unix /run/qemu-nbd $1 -C $2 >/dev/null
}

# versions prints what is compared, for the records.
versions() {
	echo "kernel $(uname -r)"
	/in/braid --version
	dpkg-query -W open-iscsi multipath-tools qemu-utils nbd-client libiscsi7 fio |
		tr '\t' ' '
	lscpu | sed -n 's/^Model name: */cpu /p;s/^CPU(s): */cpus /p'
}

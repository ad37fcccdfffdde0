# How targets behave where it matters to an initiator that has lost a session: what they
# negotiate, and whether the login that reinstates a session waits for the old tasks. The
# LUN's backing takes 3 s for every write (dm-delay).
#
#   targets.sh TARGET...               of lio, embedded, tgt, istgt
#   targets.sh loss CONNECTIONS OPEN WAIT MS TURNS [connection|logout]
#                                      LIO only: sessions of several connections are reset,
#                                      but for those in OPEN (0,1 or all or none), and
#                                      reinstated after WAIT seconds, with a disk that takes
#                                      MS for a write. It may end the guest.
#   targets.sh panic [CONNECTIONS]     LIO only: sessions that are reset under load and
#                                      reinstated at once. It may end the guest.
#
# istgt is not in the guest's image: its program has to be given, as a file "istgt".
# It reports, and judges only that each question was answered; docs/targets.md is made
# from what it prints.
source /in/guest-tests/lib.sh
late=3000 # ms that a write takes
address=10.99.0.2
network 4

probe() {
	echo "--- $*"
	PYTHONDONTWRITEBYTECODE=1 timeout 100 python3 /in/guest-tests/targets-probe.py "$@" 2>&1
}

# slow_disk makes /dev/mapper/late of a disk in memory, $under.
slow_disk() {
	modprobe brd rd_nr=1 rd_size=65536
	modprobe dm-delay
	under=/dev/ram0
	dmsetup create --noudevsync late --table \
		"0 $(blockdev --getsz $under) delay $under 0 0 $under 0 $late"
	dmsetup mknodes
	slow=/dev/mapper/late
}

start_lio() {
	target_modules
	lun=0
	lun_block $slow
	portals
	echo 2 >$target/iscsi/$iqn/tpgt_1/param/ErrorRecoveryLevel
}

start_tgt() {
	serve_in_target tgtd -f >/out/tgtd.log 2>&1 &
	server=$!
	within 10 tgt system --op show >/dev/null 2>&1
	tgt target --op new --tid 1 -T $iqn
	tgt logicalunit --op new --tid 1 --lun 1 -b $slow
	lun=1
	tgt target --op bind --tid 1 -I ALL
}

tgt() { in_target tgtadm --lld iscsi --mode "$@"; }

start_embedded() {
	serve_in_target /in/braid target --name $iqn --portal $address:3260 --portal 10.99.1.2:3260 \
		--lun 1=file:$slow --thin >/out/target.log 2>&1 &
	server=$! lun=1
	within 10 grep -q ready /out/target.log
}

start_istgt() {
	mkdir -p /etc/istgt /var/istgt
	touch /etc/istgt/auth.conf
	chmod 600 /etc/istgt/auth.conf
	lun=0
	cat >/etc/istgt/istgt.conf <<-END
		[Global]
		  NodeBase "${iqn%:*}"
		  PidFile /run/istgt.pid
		  AuthFile /etc/istgt/auth.conf
		  MediaDirectory /var/istgt
		  Timeout 30
		  NopInInterval 20
		  DiscoveryAuthMethod None
		  MaxSessions 16
		  MaxConnections 4
		  MaxR2T 32
		  MaxOutstandingR2T 16
		  DefaultTime2Wait 2
		  DefaultTime2Retain 60
		  FirstBurstLength 262144
		  MaxBurstLength 1048576
		  MaxRecvDataSegmentLength 262144
		  InitialR2T Yes
		  ImmediateData Yes
		  DataPDUInOrder Yes
		  DataSequenceInOrder Yes
		  ErrorRecoveryLevel 0
		[UnitControl]
		  AuthMethod None
		  Portal UC1 127.0.0.1:3261
		  Netmask 127.0.0.1
		[PortalGroup1]
		  Portal DA1 $address:3260
		  Portal DA2 10.99.1.2:3260
		[InitiatorGroup1]
		  InitiatorName "ALL"
		  Netmask ALL
		[LogicalUnit1]
		  TargetName "$iqn"
		  Mapping PortalGroup1 InitiatorGroup1
		  AuthMethod None
		  UseDigest Auto
		  UnitType Disk
		  LUN0 Storage $slow Auto
	END
	serve_in_target /in/istgt -D >/out/istgt.log 2>&1 &
	server=$!
	within 10 reachable
}

reachable() { timeout 2 bash -c "</dev/tcp/$address/3260" 2>/dev/null; }

if [ "$1" = loss ]; then
	late=$5
	slow_disk
	start_lio
	list=
	for ((i = 0; i < $2; i++)); do list=$list${list:+,}10.99.$i.2:3260; done
	probe loss $list $iqn 0 $under $3 $4 "${@:6}" || fail "the probe ended with $?"
	note "passed: the guest lives"
	exit
fi

if [ "$1" = panic ]; then
	target_modules
	lun_ram 64
	portals
	list=
	for ((i = 0; i < ${2:-4}; i++)); do list=$list${list:+,}10.99.$i.2:3260; done
	probe panic $list $iqn 0 || note "the probe ended with $?"
	note "passed: the guest lives"
	exit
fi

bad=0
ask() { probe "$@" || bad=1; }

slow_disk
for which in "$@"; do
	note "======== $which"
	if [ $which = istgt ] && [ ! -f /in/istgt ]; then
		note "SKIPPED: no istgt"
		continue
	fi
	start_$which
	/in/braid inquire iscsi://$address/$iqn/$lun || note "inquire ended with $?"
	one=$address:3260 other=10.99.1.2:3260
	ask keys $one $iqn $other
	ask attention $one $iqn $lun
	ask unmap $one $iqn $lun
	ask reinstate $one $iqn $lun $under open
	ask reinstate $one $iqn $lun $under closed
	ask reinstate $one $iqn $lun $under open $other
	ask abort $one $iqn $lun $under task
	ask abort $one $iqn $lun $under lun
	if [ $which = lio ]; then
		target_gone
	else
		kill -KILL $server
		wait $server || true
		! reachable || fail "$which is still there"
	fi
done
uname -r
dpkg-query -W tgt
[ $bad = 0 ] || fail "a question without an answer"
no_errors
within 20 dmsetup remove --noudevsync late
ip netns del tgt
note "passed: $*"

# The package is installed, used, upgraded under load and removed; the daemon is killed,
# and stopped so that the watchdog has to do it: package.sh OLD.deb NEW.deb
source /in/test/lib.sh
old=/in/$1 new=/in/$2

note "install"
the_target
dpkg -i "$old"
[ -x /usr/bin/braid ]
systemd-analyze verify --man=no /usr/lib/systemd/system/braid@.service \
	/usr/lib/systemd/system/braid-guard@.service 2>/run/verify || fail "verify: $(cat /run/verify)"
[ ! -s /run/verify ] || fail "verify: $(cat /run/verify)"
configured
fstab
sed "s/NAME/lun0/" /in/systemd/srv-NAME.mount.example >/run/srv-lun0.mount
systemd-analyze verify --man=no /run/srv-lun0.mount
systemctl daemon-reload

note "make a file system"
systemctl start $unit
within $slow all_up
within 30 test -b /dev/braid/lun0
disk=$(disk)
mkfs.ext4 -q -L data /dev/braid/lun0
udevadm settle --timeout=$slow
systemctl stop $unit
connected "$disk" && fail "not detached"
within 30 test ! -e /dev/braid/lun0

note "the line in fstab starts the daemon"
systemctl start srv-lun0.mount
mountpoint -q $mnt
active
within $slow all_up
udevadm settle --timeout=$slow
disk=$(disk)
identity=$(status | jq -r .wwid)
note "$identity: $(ls /dev/disk/by-id /dev/disk/by-label /dev/disk/by-uuid /dev/braid | tr '\n' ' ')"
for link in /dev/braid/lun0 "/dev/disk/by-id/braid-$identity" \
	"/dev/disk/by-id/wwn-0x${identity#naa.}" /dev/disk/by-label/data; do
	[ "$(readlink -f "$link")" = "$disk" ] || fail "no $link"
done

note "protection"
pid=$(property MainPID)
[ "$(cat /proc/$pid/oom_score_adj)" = -1000 ]
grep VmLck /proc/$pid/status
[ "$(awk '/VmLck/ { print $2 }' /proc/$pid/status)" -gt 1000 ]
threads=0
for t in /proc/$pid/task/*; do
	flags=$(sed 's/.*) //' "$t/stat" | cut -d ' ' -f 7)
	[ $((flags & 0x80000)) != 0 ] || fail "$t is no io flusher: $flags"
	threads=$((threads + 1))
done
note "$threads threads are io flushers"
journalctl -b --no-pager -u $unit | grep 'not protected' && fail "not all protection is there"
[ "$(cat "/sys/block/${disk#/dev/}/queue/io_timeout")" != 30000 ] || fail "io_timeout was not set"
braid doctor || fail "doctor"
systemd-analyze security $unit --no-pager | tail -n 1

note "kill -9 under load"
load
sleep 3
kill -9 "$pid"
within $slow restarted "$pid"
within $slow all_up
sleep 3
enough "kill -9"
mountpoint -q $mnt
[ "$(property NRestarts)" = 1 ]

note "stopped, so that the watchdog has to end it"
mkdir -p /run/systemd/system/$unit.d
printf '[Service]\nWatchdogSec=4s\nTimeoutStopSec=5s\n' >/run/systemd/system/$unit.d/quick.conf
systemctl daemon-reload
pid=$(property MainPID)
systemctl restart $unit
within $slow restarted "$pid"
within $slow all_up
sleep 6 # longer than the watchdog waits
pid=$(property MainPID)
[ "$(property NRestarts)" = 0 ] || fail "the watchdog killed a daemon that works"
load
kill -STOP "$pid"
within $slow restarted "$pid"
within $slow all_up
sleep 2
enough "killed by the watchdog (of 4 s)" 1

note "its loop is stuck, and all else of it works"
pid=$(property MainPID)
load
# Every wait for events begins 8 s late.
timeout $slow strace -qq -f -p "$pid" -e trace=epoll_pwait,epoll_wait \
	-e inject=epoll_pwait,epoll_wait:delay_enter=8000000 -o /run/strace 2>/dev/null &
within $slow restarted "$pid"
within $slow all_up
sleep 2
enough "stuck, and ended by the watchdog (of 4 s)" 1
[ "$(journalctl -b --no-pager -u $unit | grep -c 'Watchdog timeout')" = 2 ] ||
	fail "not the watchdog has ended it"
journalctl -b --no-pager -u $unit -o cat | grep -q 'goroutine .*running' ||
	fail "it does not say where it was stuck"

note "upgrade under load"
pid=$(property MainPID)
load
sleep 3
dpkg -i "$new"
within $slow restarted "$pid"
within $slow all_up
sleep 3
enough "upgrade"
[ "$(status | jq -r .pid)" = "$(property MainPID)" ]
mountpoint -q $mnt
active srv-lun0.mount

note "a device that is in use when its daemon ends stays, and is detached by name"
systemctl stop srv-lun0.mount
sleep infinity <"$disk" &
user=$!
systemctl stop $unit
connected "$disk" || fail "detached under a process that has it open"
braid doctor | grep -A 1 "no daemon answers for it" | grep "braid down $disk" || fail "doctor"
braid down lun0 && fail "detached by braid down while it is open"
kill $user
wait $user || true
braid down lun0
connected "$disk" && fail "not detached by braid down"
systemctl start srv-lun0.mount
disk=$(disk)

note "removal"
if dpkg -r braid; then fail "removed under a mounted file system"; fi
mountpoint -q $mnt
active
systemctl stop srv-lun0.mount
dpkg -r braid
connected "$disk" && fail "the device is still there"
[ ! -e /usr/bin/braid ]
[ -e /etc/braid/lun0.toml ]
within 30 test ! -e /dev/braid/lun0
dpkg -P braid
[ ! -e /var/lib/braid ]
no_errors
note "passed"

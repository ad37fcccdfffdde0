# Asymmetric access, judged by the Linux target: two portal groups, each a target port
# group of its own, whose access states change under load:
# alua.sh implicit|explicit
source /in/guest-tests/lib.sh
mode=$1

# group N STATE changes an access state: 0 optimized, 1 non-optimized, 2 standby,
# 3 unavailable.
group() {
	note "group $1: state $2"
	echo "$2" >$store/alua/g$1/alua_access_state
}

# groups TYPE makes a port group of the store for each path: type 1 is implicit, 2 explicit,
# 3 both.
groups() {
	local i g tpg
	for ((i = 1; i <= paths; i++)); do
		g=$store/alua/g$i
		mkdir -p $g
		echo $((i + 9)) >$g/tg_pt_gp_id
		echo $1 >$g/alua_access_type
		echo 20 >$g/implicit_trans_secs
		tpg=$target/iscsi/$iqn/tpgt_$i
		mkdir -p $tpg/lun/lun_0
		echo 0 >$tpg/attrib/authentication
		echo 1 >$tpg/attrib/generate_node_acls
		echo 1 >$tpg/attrib/cache_dynamic_acls
		echo 0 >$tpg/attrib/demo_mode_write_protect
		echo 64 >$tpg/attrib/default_cmdsn_depth
		ln -s $store $tpg/lun/lun_0/link
		echo g$i >$tpg/lun/lun_0/alua_tg_pt_gp
		in_target mkdir $tpg/np/10.99.$((i - 1)).2:3260
		echo 1 >$tpg/enable
	done
}

# whole, for `up`: every path has a session.
whole() {
	[ "$(status | jq '[.paths[] | select(.state == "active" or .state == "ghost")] | length')" = $paths ]
}

states() { [ "$(status | jq -r '[.paths[].state] | join(" ")')" = "$1" ]; }

network 2
target_modules
lun_ram 200
case $mode in
implicit) groups 1 ;;
explicit) groups 2 ;;
esac
up sessions
/in/braid inquire iscsi://10.99.0.2/$iqn/0 | tee /out/inquire | grep alua
grep -q "$mode" /out/inquire || fail "inquire does not tell that it is $mode"
within 10 states "active ghost"

changes=0
case $mode in
implicit)
	verified_load --filename=$device 60 64
	while alive $fio; do
		group 1 2
		within 15 states "ghost active"
		pause 3 $fio
		group 2 1 # non-optimized, and still the only one
		pause 2 $fio
		states "ghost active" || fail "a non-optimized path is used when it is the only one"
		group 1 0
		within 15 states "active ghost"
		group 2 3 # unavailable
		pause 3 $fio
		states "active ghost" || fail "the group that is left"
		group 2 0
		pause 2 $fio
		changes=$((changes + 1))
	done
	;;
explicit)
	# Only standby is left, by the target's own doing: braid asks it to change that. The states
	# can be set here only where the target may change them itself, too.
	verified_load --filename=$device 75 64
	for i in 1 2; do echo 3 >$store/alua/g$i/alua_access_type; done
	pause 5 $fio
	group 2 2
	pause 3 $fio
	states "active ghost" || fail "standby is no reason to move"
	while alive $fio; do
		group 1 3
		within 25 states "ghost active"
		group 2 0
		group 1 0
		within 25 states "active ghost"
		group 2 2
		pause 3 $fio
		changes=$((changes + 1))
	done
	[ "$(status | jq .explicit_switches)" -gt 0 ] || fail "the target was never asked"
	;;
esac
verified
[ $changes -ge 1 ] || fail "nothing changed"
status | jq -cM '{access_changes, group_switches, explicit_switches, flushes,
	paths: [.paths[] | {state, alua, alua_group, reads, writes, failovers, retries}]}'
[ "$(counted failovers)" = 0 ] || fail "a session was lost"
down
no_errors
note "passed: $mode, $changes rounds"

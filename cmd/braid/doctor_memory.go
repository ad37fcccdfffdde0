package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// examineMemory looks at what keeps a daemon going when memory is short.
func examineMemory(m *machine) []finding {
	const lock, flusher, killer = "locked memory", "io flusher", "oom killer"
	unit := "the unit braid@.service has it; by hand, run braid as root"
	all := []finding{
		{lock, allRight, "all memory may be locked", ""},
		{flusher, allRight, "threads can be marked (PR_SET_IO_FLUSHER)", ""},
		{killer, allRight, "the daemon can be taken out of its choice", ""},
	}
	if !m.mayLock() {
		all[0] = finding{lock, warned, "at most " + bytesShort(m.memlock) +
			" may be locked: the daemon may be paged out", "LimitMEMLOCK=infinity: " + unit}
	}
	major, minor, err := m.kernel()
	switch {
	case err == nil && (major < 5 || major == 5 && minor < 6):
		all[1] = finding{flusher, warned, "Linux before 5.6 has none: the daemon may wait for its " +
			"own device when memory is short", "install a newer kernel"}
	case !m.threads:
		all[1] = finding{flusher, warned, "this program was built with cgo, and cannot mark all its " +
			"threads", "CGO_ENABLED=0 go build ./cmd/braid"}
	case !m.may(unix.CAP_SYS_RESOURCE):
		all[1] = finding{flusher, warned, "needs CAP_SYS_RESOURCE: the daemon may wait for its own " +
			"device when memory is short", unit}
	}
	if !m.may(unix.CAP_SYS_RESOURCE) {
		all[2] = finding{killer, warned, "needs CAP_SYS_RESOURCE: the daemon may be killed when " +
			"memory is short", unit}
	}
	return all
}

const leastFree = 32 << 10 // KiB that the kernel keeps for itself

// examineLimits looks at settings of the whole machine.
func examineLimits(m *machine) []finding {
	var all []finding
	if free, ok := m.number("/proc/sys/vm/min_free_kbytes"); ok && free < leastFree {
		all = append(all, finding{"reserve of memory", warned,
			fmt.Sprintf("%d KiB: network packets to the target may find no memory", free),
			"echo vm.min_free_kbytes=65536 >/etc/sysctl.d/60-braid.conf; sysctl --system"})
	}
	if mode, ok := m.number("/proc/sys/vm/overcommit_memory"); ok && mode == 2 {
		all = append(all, finding{"overcommit", warned,
			"strict: the whole buffer pool counts as used from the start",
			"a smaller retain in the configuration, or sysctl vm.overcommit_memory=0"})
	}
	if swap := m.swapDevice(); swap != "" {
		all = append(all, finding{"swap", missing, swap + " is swap space on an NBD device: " +
			"the machine locks up when memory is short",
			"swapoff " + swap + ", and take it out of /etc/fstab"})
	}
	return all
}

const leastWindow = 4 << 20 // bytes of a TCP window: 1 Gbit/s at 32 ms

func examineNetwork(m *machine) []finding {
	var all []finding
	for _, name := range []string{"tcp_window_scaling", "tcp_sack", "tcp_timestamps"} {
		if on, ok := m.number("/proc/sys/net/ipv4/" + name); ok && on == 0 {
			all = append(all, finding{"tcp", warned, name + " is off: slow, and slow to recover",
				"sysctl -w net.ipv4." + name + "=1"})
		}
	}
	for _, name := range []string{"tcp_rmem", "tcp_wmem"} {
		if most, ok := m.number("/proc/sys/net/ipv4/" + name); ok && most < leastWindow {
			all = append(all, finding{"tcp", warned, fmt.Sprintf("%s: at most %s for a connection: "+
				"a long way to the target will be slow", name, bytesShort(uint64(most))),
				fmt.Sprintf("sysctl -w net.ipv4.%s='4096 131072 %d'", name, leastWindow)})
		}
	}
	if len(all) == 0 {
		all = []finding{{"tcp", allRight, "windows and options are as they should be", ""}}
	}
	return all
}

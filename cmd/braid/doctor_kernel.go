package main

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelNotes say what older kernels lack.
var kernelNotes = []struct {
	major, minor int
	state, lacks string
}{
	{5, 14, missing, "its NBD driver keeps no identity of a device, so a new daemon cannot find " +
		"the one that an old one left"},
	{6, 12, allRight, "its NBD driver writes zeroes as data"},
}

func examineKernel(m *machine) []finding {
	f := finding{"kernel", allRight, "Linux " + m.release, ""}
	major, minor, err := m.kernel()
	if err != nil {
		return []finding{{"kernel", warned, err.Error(), ""}}
	}
	for _, n := range kernelNotes {
		if major > n.major || major == n.major && minor >= n.minor {
			continue
		}
		f.Detail += fmt.Sprintf("; before %d.%d %s", n.major, n.minor, n.lacks)
		if n.state == missing {
			f.State, f.Remedy = missing, fmt.Sprintf("install a kernel of at least %d.%d, or serve "+
				"sockets only (--nbd unix:PATH)", n.major, n.minor)
		}
	}
	return []finding{f}
}

func examineDriver(m *machine) []finding {
	f := finding{Check: "nbd driver", State: allRight}
	modules := "/lib/modules/" + m.release
	switch {
	case m.exists("/sys/module/nbd"), m.exists("/sys/block/nbd0"):
		f.Detail = "loaded"
	case strings.Contains(m.text(modules+"/modules.builtin"), "/nbd.ko"):
		f.Detail = "built into the kernel"
	case strings.Contains(m.text(modules+"/modules.dep"), "/nbd.ko"):
		f.Detail = "not loaded yet: braid does that"
		if !m.may(unix.CAP_SYS_MODULE) {
			f.State, f.Detail, f.Remedy = missing, "not loaded, and this user may not load it",
				"sudo modprobe nbd"
		}
	default:
		f.State, f.Detail = missing, "this kernel has no NBD driver: only sockets can be served"
		f.Remedy = "install a kernel with CONFIG_BLK_DEV_NBD: apt-get install linux-image-amd64"
		if strings.Contains(m.text("/etc/os-release"), "ID=ubuntu") {
			f.Remedy = "apt-get install linux-modules-extra-" + m.release
		}
	}
	return []finding{f}
}

// examineDevices looks for devices that nobody serves.
func examineDevices(m *machine) []finding {
	disks := m.glob("/sys/block/nbd*")
	if len(disks) == 0 {
		return nil
	}
	connected := 0
	for _, disk := range disks {
		if m.exists(disk + "/pid") {
			connected++
		}
	}
	all := []finding{{"nbd devices", allRight,
		fmt.Sprintf("%d, of which %d are connected", len(disks), connected), ""}}
	for _, l := range m.leftDevices() {
		all = append(all, finding{"nbd devices", warned, l.path + " (" + l.identity +
			") is attached, and no daemon answers for it: its I/O waits",
			"start its daemon (systemctl start braid@NAME), or give it up: braid down " + l.path})
	}
	return all
}

// examineRights looks at what the kernel's driver asks of who attaches a device.
func examineRights(m *machine) []finding {
	f := finding{"rights", allRight, "kernel devices can be attached (CAP_SYS_ADMIN)", ""}
	if !m.may(unix.CAP_SYS_ADMIN) {
		f.State = missing
		f.Detail = "kernel devices cannot be attached without CAP_SYS_ADMIN: only sockets can be served"
		f.Remedy = "run braid by systemd (systemctl start braid@NAME), or as root: sudo braid ..."
		if m.user == 0 {
			f.Remedy = "run it outside of the container, or give that CAP_SYS_ADMIN"
		}
	}
	return []finding{f}
}

// isIdentity tells whether a backend's name is one that braid gives: the
// identity of a LUN.
func isIdentity(backend string) bool {
	for _, kind := range []string{"naa.", "eui.", "t10.", "iqn."} {
		if strings.HasPrefix(backend, kind) {
			return true
		}
	}
	return false
}

package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

var (
	unitFolders = []string{"/etc/systemd/system", "/run/systemd/system",
		"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
	ruleFolders = []string{"/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d",
		"/usr/lib/udev/rules.d", "/lib/udev/rules.d"}
)

const (
	unitFile = "braid@.service"
	ruleFile = "59-braid.rules"
)

// find gives the first of the folders that holds a file.
func (m *machine) find(folders []string, file string) string {
	for _, folder := range folders {
		if m.exists(path.Join(folder, file)) {
			return path.Join(folder, file)
		}
	}
	return ""
}

func examineUnits(m *machine) []finding {
	const check = "systemd"
	if !m.exists("/run/systemd/system") {
		return []finding{{check, allRight, "this machine does not run it: start `braid up NAME` by " +
			"what it has", ""}}
	}
	unit := m.find(unitFolders, unitFile)
	if unit == "" {
		return []finding{{check, warned, unitFile + " is not installed", "install the package, or: " +
			"cp deploy/systemd/*.service /etc/systemd/system/ && " +
			"install -Dt /etc/systemd/system-generators deploy/systemd/braid-generator && " +
			"systemctl daemon-reload"}}
	}
	all := []finding{{check, allRight, unit, ""}}
	for _, file := range m.configs() {
		if name := deviceName(file); checkDeviceName(name) == nil {
			all = append(all, m.examineUnit(name))
		}
	}
	return all
}

// examineUnit says how the unit of one device is.
func (m *machine) examineUnit(name string) finding {
	unit := "braid@" + name + ".service"
	f := finding{"unit", allRight, "", ""}
	out, err := m.run("systemctl", "show", unit, "--property",
		"LoadState,ActiveState,SubState,UnitFileState,Result,NRestarts")
	if err != nil {
		f.State, f.Detail, f.Remedy = warned, unit+": systemctl: "+err.Error(), "systemctl status "+unit
		return f
	}
	has := make(map[string]string)
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		has[key] = value
	}
	f.Detail = fmt.Sprintf("%s: %s (%s)", unit, has["ActiveState"], has["SubState"])
	journal := "journalctl -b -u " + unit
	switch {
	case has["LoadState"] == "masked":
		f.State, f.Detail, f.Remedy = missing, unit+" is masked", "systemctl unmask "+unit
	case has["LoadState"] != "loaded":
		f.State, f.Detail = missing, unit+": "+has["LoadState"]
		f.Remedy = "systemctl daemon-reload; systemctl status " + unit
	case has["ActiveState"] == "failed":
		f.State, f.Detail = missing, f.Detail+": "+has["Result"]
		f.Remedy = journal + "; systemctl restart " + unit
	case has["SubState"] == "auto-restart":
		f.State, f.Detail = missing, f.Detail+", restarted "+has["NRestarts"]+" times"
		f.Remedy = journal
	case has["ActiveState"] == "inactive" && has["UnitFileState"] != "enabled":
		f.Detail += ", and not started at boot unless /etc/fstab names /dev/braid/" + name +
			": systemctl enable --now " + unit
	}
	return f
}

func examineRules(m *machine) []finding {
	if !m.exists("/run/udev") {
		return nil
	}
	rules := m.find(ruleFolders, ruleFile)
	if rules == "" {
		return []finding{{"udev", warned, ruleFile +
			" is not installed: no /dev/braid/NAME, and probing " +
			"may hang while there is no path", "install the package, or: " +
			"cp deploy/udev/*.rules /etc/udev/rules.d/ && udevadm control --reload"}}
	}
	return []finding{{"udev", allRight, rules, ""}}
}

// swapDevice is swap space on an NBD device that is in use.
func (m *machine) swapDevice() string {
	for line := range strings.Lines(m.text("/proc/swaps")) {
		if fields := strings.Fields(line); len(fields) > 0 && isKernelDevice(fields[0]) {
			return fields[0]
		}
	}
	return ""
}

// examineMounts reads /etc/fstab for lines about devices of braid.
func examineMounts(m *machine) []finding {
	var all []finding
	n := 0
	for line := range strings.Lines(m.text("/etc/fstab")) {
		n++
		fields := strings.Fields(line)
		if len(fields) < 3 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if f, ours := examineMount(fields); ours {
			f.Check, f.Detail = "fstab", fmt.Sprintf("/etc/fstab:%d: %s", n, f.Detail)
			all = append(all, f)
		}
	}
	return all
}

// examineMount looks at the fields of one line, fstab(5).
func examineMount(fields []string) (f finding, ours bool) {
	device, kind := fields[0], fields[2]
	var options []string
	if len(fields) > 3 {
		options = strings.Split(fields[3], ",")
	}
	name, byName := strings.CutPrefix(device, "/dev/braid/")
	byIdentity := strings.HasPrefix(device, "/dev/disk/by-id/braid-")
	const edit = "editor /etc/fstab; systemctl daemon-reload"
	switch {
	case !byName && !byIdentity && !isKernelDevice(device):
		return finding{}, false
	case kind == "swap":
		return finding{State: missing, Detail: "swap space on " + device +
			": the machine locks up when " +
			"memory is short", Remedy: edit}, true
	case isKernelDevice(device):
		return finding{State: warned, Detail: device + " may be another LUN after the next start: " +
			"write /dev/braid/NAME or /dev/disk/by-id/braid-...", Remedy: edit}, true
	case !slices.Contains(options, "_netdev"):
		return finding{State: missing, Detail: device +
			" without the option _netdev: it is mounted too " +
			"early and unmounted too late", Remedy: edit}, true
	case hasRequires(options, name):
		return finding{State: missing, Detail: device + " with x-systemd.requires=: the file system is " +
			"unmounted whenever the daemon is started anew", Remedy: edit}, true
	}
	return finding{State: allRight, Detail: device + " on " + fields[1]}, true
}

func hasRequires(options []string, name string) bool {
	return slices.ContainsFunc(options, func(o string) bool {
		unit, ok := strings.CutPrefix(o, "x-systemd.requires=")
		return ok && strings.HasPrefix(unit, "braid@"+name)
	})
}

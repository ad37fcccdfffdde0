//go:build guest

package vmtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	targetName = "iqn.2026-01.com.example:guest"
	targetCore = "/sys/kernel/config/target/core"
	targetTree = "/sys/kernel/config/target/iscsi/" + targetName
	namespace  = "target"
)

// A lio is the kernel's iSCSI target with one LUN, in a network namespace that
// links lead to.
type lio struct {
	t     *testing.T
	links int
}

// newLIO sets up a target with a LUN of size bytes, volatile write cache
// included, behind as many links, each with a portal of its own.
func newLIO(t *testing.T, links int, size int64) *lio {
	return newLIOOf(t, links, func(l *lio) string { return l.makeDisk("disk0", size) })
}

// newLIOOf has the LUN that disk makes: it returns its folder below the target's.
func newLIOOf(t *testing.T, links int, disk func(l *lio) string) *lio {
	t.Helper()
	for _, dir := range []string{"/etc/target/pr", "/var/target/alua", "/var/target/pr"} {
		must(t, os.MkdirAll(dir, 0o755))
	}
	run(t, "modprobe", "-a", "target_core_mod", "target_core_file", "target_core_iblock",
		"iscsi_target_mod")
	l := &lio{t, links}
	l.makeLinks()
	backing := disk(l)
	group := filepath.Join(targetTree, "tpgt_1")
	must(t, os.MkdirAll(group, 0o755))
	l.set(group, "attrib/authentication=0", "attrib/generate_node_acls=1",
		"attrib/demo_mode_write_protect=0", "attrib/cache_dynamic_acls=1",
		"attrib/default_cmdsn_depth=64", "attrib/default_erl=0",
		"param/MaxConnections=8", "param/ErrorRecoveryLevel=0", "param/ImmediateData=Yes",
		"param/InitialR2T=No", "param/FirstBurstLength=262144", "param/MaxBurstLength=1048576",
		"param/MaxRecvDataSegmentLength=262144", "param/MaxOutstandingR2T=8")
	for i := range links {
		l.inNamespace(func() error { return os.MkdirAll(filepath.Join(group, "np", l.portal(i)), 0o755) })
	}
	lun := filepath.Join(group, "lun/lun_0")
	must(t, os.MkdirAll(lun, 0o755))
	must(t, os.Symlink(filepath.Join(targetCore, backing), filepath.Join(lun, "disk")))
	l.set(group, "enable=1")
	return l
}

// makeDisk makes a disk of a sparse file in memory.
func (l *lio) makeDisk(name string, size int64) string {
	l.t.Helper()
	dir := filepath.Join(targetCore, "fileio_0", name)
	file := filepath.Join("/tmp", name)
	must(l.t, os.MkdirAll(dir, 0o755))
	must(l.t, os.WriteFile(file, nil, 0o600))
	must(l.t, os.Truncate(file, size))
	l.set(dir, fmt.Sprintf("control=fd_dev_name=%s,fd_dev_size=%d,fd_buffered_io=1", file, size),
		"wwn/vpd_unit_serial=guest-"+name, "enable=1", "attrib/emulate_write_cache=1",
		"attrib/emulate_tpu=1", "attrib/emulate_tpws=1")
	return "fileio_0/" + name
}

// makeBlockDisk makes a disk of a block device.
func (l *lio) makeBlockDisk(name, device string) string {
	l.t.Helper()
	dir := filepath.Join(targetCore, "iblock_0", name)
	must(l.t, os.MkdirAll(dir, 0o755))
	l.set(dir, "control=udev_path="+device, "wwn/vpd_unit_serial=guest-"+name, "enable=1")
	return "iblock_0/" + name
}

// set writes settings, each FILE=VALUE, below dir.
func (l *lio) set(dir string, settings ...string) {
	l.t.Helper()
	for _, s := range settings {
		file, value, _ := strings.Cut(s, "=")
		must(l.t, os.WriteFile(filepath.Join(dir, file), []byte(value), 0))
	}
}

func (l *lio) makeLinks() {
	l.t.Helper()
	run(l.t, "ip", "netns", "add", namespace)
	run(l.t, "ip", "-n", namespace, "link", "set", "lo", "up")
	for i := range l.links {
		ours, theirs := fmt.Sprintf("p%d", i), fmt.Sprintf("t%d", i)
		run(l.t, "ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", namespace)
		run(l.t, "ip", "addr", "add", fmt.Sprintf("10.99.%d.1/24", i), "dev", ours)
		run(l.t, "ip", "link", "set", ours, "up")
		run(l.t, "ip", "-n", namespace, "addr", "add", fmt.Sprintf("10.99.%d.2/24", i), "dev", theirs)
		run(l.t, "ip", "-n", namespace, "link", "set", theirs, "up")
	}
}

// portal is the address of link i's portal.
func (l *lio) portal(i int) string { return fmt.Sprintf("10.99.%d.2:3260", i) }

// inNamespace calls fn on a thread in the target's namespace: where a portal is
// made is where it listens. The thread is not used again.
func (l *lio) inNamespace(fn func() error) {
	l.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		f, err := os.Open("/run/netns/" + namespace)
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			f.Close()
		}
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	must(l.t, <-done)
}

// sessions are URLs of one session per link.
func (l *lio) sessions() []string {
	var urls []string
	for i := range l.links {
		urls = append(urls, "iscsi://"+l.portal(i)+"/"+targetName+"/0")
	}
	return urls
}

// connections is the URL of one session with a connection per link.
func (l *lio) connections() []string {
	var portals []string
	for i := range l.links {
		portals = append(portals, l.portal(i))
	}
	return []string{"iscsi://" + strings.Join(portals, ",") + "/" + targetName + "/0"}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

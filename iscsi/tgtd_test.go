package iscsi_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

const (
	tgtName  = "iqn.2026-01.net.example:live"
	tgtBytes = 64 << 20
)

// A tgtd is a real target of its own, with a file behind LUN 1.
type tgtd struct {
	t       *testing.T
	control string
	portals []string
}

// tgtds counts those that were started: each has a port of its own.
var tgtds int

// startTgtd starts tgtd with so many portals, each on an address of its own, and
// ends it with the test.
func startTgtd(t *testing.T, portals int) *tgtd {
	t.Helper()
	daemon, err := exec.LookPath("tgtd")
	if err != nil {
		t.Skip("SKIPPED: tgtd is not installed, nothing was tried against a real target")
	}
	g := &tgtd{t: t, control: strconv.Itoa(10000 + os.Getpid()%20000)}
	tgtds++
	list := ""
	for i := range portals {
		// Addresses that nobody else uses, ports that the kernel does not give out.
		pid := os.Getpid()
		g.portals = append(g.portals,
			fmt.Sprintf("127.%d.%d.%d:%d", 200+pid>>8%50, pid%256, i+1, 13300+tgtds))
		list += ",portal=" + g.portals[i]
	}
	var log bytes.Buffer
	cmd := exec.Command(daemon, "-f", "-C", g.control, "--iscsi", list[1:])
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Skipf("SKIPPED: tgtd does not start: %v", err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-exited
		if t.Failed() {
			t.Logf("tgtd said:\n%s", log.Bytes())
		}
	})
	g.await(exited)
	image := filepath.Join(t.TempDir(), "lun")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, tgtBytes); err != nil {
		t.Fatal(err)
	}
	g.adm("--op", "new", "--mode", "target", "--tid", "1", "-T", tgtName)
	g.adm("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", image)
	g.adm("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
	return g
}

// await waits until the daemon answers its control program.
func (g *tgtd) await(exited chan struct{}) {
	for late := time.Now().Add(30 * time.Second); time.Now().Before(late); {
		select {
		case <-exited:
			g.t.Skip("SKIPPED: tgtd ended at once, nothing was tried against a real target")
		default:
		}
		cmd := exec.Command("tgtadm", "-C", g.control, "--lld", "iscsi", "--op", "show",
			"--mode", "target")
		if cmd.Run() == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	g.t.Fatal("tgtd does not answer")
}

func (g *tgtd) adm(args ...string) {
	g.t.Helper()
	args = append([]string{"-C", g.control, "--lld", "iscsi"}, args...)
	if out, err := exec.Command("tgtadm", args...).CombinedOutput(); err != nil {
		g.t.Fatalf("tgtadm %v: %v\n%s", args, err, out)
	}
}

// set changes a negotiation parameter of the target.
func (g *tgtd) set(name, value string) {
	g.t.Helper()
	g.adm("--op", "update", "--mode", "target", "--tid", "1", "-n", name, "-v", value)
}

//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	lunBytes = 64 << 20
	tgtIQN   = "iqn.2026-01.net.example:e2e"
)

// networks counts the /24 networks of 127/8 that are given out: every target has
// one of its own, so that tests beside each other never meet.
var networks atomic.Int32

// port is outside the range that the kernel gives out.
const port = 13260

// addresses gives n free addresses, each with another IP address.
func addresses(t *testing.T, n int) []string {
	t.Helper()
	for range 100 {
		network := os.Getpid()<<8 + int(networks.Add(1))
		prefix := fmt.Sprintf("127.%d.%d", 64+network>>8%128, network%256)
		if list := freeAddresses(prefix, n); list != nil {
			return list
		}
	}
	t.Fatal("no free addresses")
	return nil
}

func freeAddresses(network string, n int) []string {
	// A child that is forked while one of these listens would keep it for a moment.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var list []string
	for i := range n {
		address := fmt.Sprintf("%s.%d:%d", network, i+1, port)
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil
		}
		l.Close()
		list = append(list, address)
	}
	return list
}

// tgtConfig is what differs between the targets of the tests.
type tgtConfig struct {
	portals int
	chap    bool   // demand CHAP
	mutual  bool   // prove itself too
	digests string // HeaderDigest and DataDigest; None unless said
	luns    int    // 1 unless said
}

const (
	chapUser, chapSecret     = "initiator", "e2e-secret-of-braid"
	mutualUser, mutualSecret = "target", "e2e-secret-of-tgtd"
)

// A tgtd is tgt's daemon with files behind its LUNs 1, 2, ...
type tgtd struct {
	t       *testing.T
	config  tgtConfig
	folder  string
	portals []string
	images  []string
	process *child
}

// startTgtd starts tgtd and ends it with the test.
func startTgtd(t *testing.T, config tgtConfig) *tgtd {
	t.Helper()
	config.luns = max(config.luns, 1)
	tool(t, "tgtadm")
	g := &tgtd{t: t, config: config, folder: tempDir(t), portals: addresses(t, config.portals)}
	for i := range config.luns {
		image := filepath.Join(g.folder, fmt.Sprint("lun", i+1))
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, lunBytes); err != nil {
			t.Fatal(err)
		}
		g.images = append(g.images, image)
	}
	g.start()
	return g
}

// start starts the daemon, a second time after kill.
func (g *tgtd) start() {
	g.t.Helper()
	cmd := command(g.t, tool(g.t, "tgtd"), "-f", "-t", "4", "-C", "0", "--iscsi",
		"portal="+strings.Join(g.portals, ",portal="))
	cmd.Env = g.environment()
	g.process = start(g.t, "tgtd", cmd, false)
	eventually(g.t, patience, "tgtd answers tgtadm", func() bool {
		if !g.process.running() {
			g.t.Fatal("tgtd has ended at once")
		}
		return g.try("--op", "show", "--mode", "target") == nil
	})
	target := []string{"--mode", "target", "--tid", "1"}
	g.adm(append(target, "--op", "new", "-T", tgtIQN)...)
	set := func(name, value string) {
		g.adm(append(target, "--op", "update", "-n", name, "-v", value)...)
	}
	set("MaxConnections", "4")
	if g.config.digests != "" {
		set("HeaderDigest", g.config.digests)
		set("DataDigest", g.config.digests)
	}
	if g.config.chap {
		g.account(chapUser, chapSecret)
	}
	if g.config.mutual {
		g.account(mutualUser, mutualSecret, "--outgoing")
	}
	for i, image := range g.images {
		lun := []string{"--mode", "logicalunit", "--tid", "1", "--lun", fmt.Sprint(i + 1)}
		g.adm(append(lun, "--op", "new", "-b", image)...)
		g.adm(append(lun, "--op", "update", "--params",
			fmt.Sprintf("thin_provisioning=1,scsi_id=e2e-%d,scsi_sn=e2e%d", i+1, i+1))...)
	}
	g.adm(append(target, "--op", "bind", "-I", "ALL")...)
}

func (g *tgtd) account(user, secret string, how ...string) {
	g.t.Helper()
	g.adm("--mode", "account", "--op", "new", "--user", user, "--password", secret)
	g.adm(append([]string{"--mode", "account", "--op", "bind", "--tid", "1", "--user", user},
		how...)...)
}

// kill ends the daemon as kill -9 does.
func (g *tgtd) kill() { g.process.kill() }

// environment gives the daemon a control socket of its own.
func (g *tgtd) environment() []string {
	return append(os.Environ(), "TGT_IPC_SOCKET="+filepath.Join(g.folder, "control"))
}

func (g *tgtd) try(args ...string) error {
	cmd := exec.Command(tool(g.t, "tgtadm"), append([]string{"-C", "0", "--lld", "iscsi"}, args...)...)
	cmd.Env, cmd.WaitDelay = g.environment(), time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("tgtadm %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// nexuses counts the sessions that the target knows.
func (g *tgtd) nexuses() int {
	g.t.Helper()
	cmd := exec.Command(tool(g.t, "tgtadm"), "-C", "0", "--lld", "iscsi", "--op", "show", "--mode",
		"target")
	cmd.Env, cmd.WaitDelay = g.environment(), time.Second
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.Count(string(out), "I_T nexus: ")
}

func (g *tgtd) adm(args ...string) {
	g.t.Helper()
	if err := g.try(args...); err != nil {
		g.t.Fatal(err)
	}
}

// urls gives one URL for each portal: a session each.
func (g *tgtd) urls() []string { return sessionURLs(g.portals, tgtIQN, 1) }

// mcsURL gives one URL with all portals: one session.
func mcsURL(portals []string) string {
	return fmt.Sprintf("iscsi://%s/%s/1", strings.Join(portals, ","), tgtIQN)
}

func sessionURLs(portals []string, target string, lun int) []string {
	var list []string
	for _, p := range portals {
		list = append(list, fmt.Sprintf("iscsi://%s/%s/%d", p, target, lun))
	}
	return list
}

// image gives n bytes of LUN 1, as they lie in the file behind it.
func (g *tgtd) image(offset, n int) []byte {
	g.t.Helper()
	f, err := os.Open(g.images[0])
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, n)
	if _, err := f.ReadAt(data, int64(offset)); err != nil {
		g.t.Fatal(err)
	}
	return data
}

// holds checks that the file behind LUN 1 has that byte everywhere in a range.
func (g *tgtd) holds(offset, n int, pattern byte) {
	g.t.Helper()
	for i, b := range g.image(offset, n) {
		if b != pattern {
			g.t.Errorf("behind the LUN byte %d is %#x, not %#x", offset+i, b, pattern)
			return
		}
	}
}

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	iqn      = "iqn.2026-01.net.braid:bench"
	lunBytes = 1 << 30
)

// A lab is where the processes of one experiment live.
type lab struct {
	settings
	folder   string
	targets  map[string]*server
	bridges  []*bridge
	networks []*network
}

// A server is a target.
type server struct {
	*process
	portals []string
	fresh   bool // its memory was not touched yet
}

// A bridge is what serves the LUN over NBD.
type bridge struct {
	*process
	target *server
	socket string
	ready  time.Duration // from its start until a client could connect
	idle   int64         // bytes resident then
}

func newLab(s settings) (*lab, error) {
	folder, err := os.MkdirTemp("", "bench-")
	return &lab{settings: s, folder: folder, targets: make(map[string]*server)}, err
}

func (l *lab) end() {
	for _, b := range l.bridges {
		b.end()
	}
	for _, t := range l.targets {
		t.end()
	}
	for _, n := range l.networks {
		n.stop()
	}
	os.RemoveAll(l.folder)
}

func (l *lab) log(kind string) string {
	return filepath.Join(l.folder, fmt.Sprintf("%s-%d.log", kind, len(l.bridges)+len(l.targets)))
}

// target gives the target that s wants; setups that want the same share one.
func (l *lab) target(s setup) (*server, error) {
	key := fmt.Sprint(s.tgtd, s.portals, s.targetFlags, s.faults, s.network)
	if t := l.targets[key]; t != nil {
		return t, nil
	}
	var t *server
	var err error
	if s.tgtd {
		t, err = l.startTgtd(s)
	} else {
		t, err = l.startEmbedded(s)
	}
	if err != nil {
		return nil, err
	}
	l.targets[key], t.fresh = t, !s.tgtd
	return t, nil
}

func (l *lab) startEmbedded(s setup) (*server, error) {
	args := []string{"target", "--name", iqn, "--lun", fmt.Sprintf("1=ram:%d", lunBytes),
		"--log-level", "error", "--faults", "-"}
	program := []string{l.braid}
	if n := s.network; n != nil {
		l.networks = append(l.networks, n)
		if err := n.start(); err != nil {
			return nil, err
		}
		program = []string{"ip", "netns", "exec", n.space(), l.braid}
	}
	for i := range s.portals {
		address := "127.0.0.1"
		if s.network != nil {
			address = s.network.address(i)
		}
		args = append(args, "--portal", address+":0")
	}
	args = slices.Concat(program, args, s.targetFlags)
	p, err := start(l.log("target"), true, args[0], args[1:]...)
	if err != nil {
		return nil, err
	}
	words, err := p.await("ready")
	if err != nil {
		p.end()
		return nil, err
	}
	return &server{process: p, portals: words[2:]}, nil
}

// startTgtd starts tgt with its null store: what is read is junk, and fast.
func (l *lab) startTgtd(s setup) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	control := filepath.Join(l.folder, "tgtd")
	os.Setenv("TGT_IPC_SOCKET", control)
	p, err := start(l.log("tgtd"), false, "tgtd", "-f", "-C", "0", "--iscsi", "portal="+address)
	if err != nil {
		return nil, err
	}
	adm := func(args ...string) error {
		out, err := exec.Command("tgtadm", append([]string{"-C", "0", "--lld", "iscsi"}, args...)...).
			CombinedOutput()
		if err != nil {
			return fmt.Errorf("tgtadm %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	deadline := time.Now().Add(patience)
	for adm("--op", "show", "--mode", "target") != nil {
		if time.Now().After(deadline) {
			p.end()
			return nil, errors.New("tgtd does not answer")
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, args := range []string{
		"--mode target --tid 1 --op new -T " + iqn,
		"--mode logicalunit --tid 1 --lun 1 --op new -b /dev/null --bstype null",
		"--mode target --tid 1 --op bind -I ALL",
	} {
		if err := adm(strings.Fields(args)...); err != nil {
			p.end()
			return nil, err
		}
	}
	return &server{process: p, portals: []string{address}}, nil
}

func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// bridge starts what s is about, and waits until it serves.
func (l *lab) bridge(s setup) (*bridge, error) {
	t, err := l.target(s)
	if err != nil {
		return nil, err
	}
	n := len(l.bridges)
	b := &bridge{target: t, socket: filepath.Join(l.folder, fmt.Sprintf("nbd%d", n))}
	begun := time.Now()
	if s.qemu {
		b.process, err = start(l.log("qemu-nbd"), false, "qemu-nbd", "-k", b.socket, "-t", "-e", "8",
			"-f", "raw", fmt.Sprintf("iscsi://%s/%s/1", t.portals[0], iqn))
	} else {
		b.process, err = start(l.log("braid"), true, l.braid, l.braidArgs(s, t, b, n)...)
	}
	if err != nil {
		return nil, err
	}
	l.bridges = append(l.bridges, b)
	if !s.qemu {
		if _, err := b.await("ready"); err != nil {
			return nil, err
		}
	}
	for {
		c, err := net.Dial("unix", b.socket)
		if err == nil {
			b.ready, b.idle = time.Since(begun), b.resident()
			c.Close()
			return b, errors.Join(b.fill(), t.tell(s.faults))
		}
		if time.Since(begun) > patience {
			return nil, fmt.Errorf("%s does not serve: %w; see %s", s.name, err, b.log.Name())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// tell has the embedded target play faults.
func (t *server) tell(faults []string) error {
	for _, f := range faults {
		if _, err := fmt.Fprintln(t.in, f); err != nil {
			return err
		}
		if _, err := t.await("ok"); err != nil {
			return err
		}
	}
	return nil
}

// fill writes all of a fresh target's memory, so that no run pays for its first touch.
func (b *bridge) fill() error {
	if !b.target.fresh {
		return nil
	}
	b.target.fresh = false
	all := row{rw: "write", block: mib, depth: 4, blocks: lunBytes / mib}
	_, err := batch(all, b.socket, time.Minute)
	return err
}

func (l *lab) braidArgs(s setup, t *server, b *bridge, n int) []string {
	name := fmt.Sprintf("bench%d-%d", os.Getpid(), n)
	args := []string{"up", "--name", name, "--nbd", "unix:" + b.socket,
		"--control", "unix:" + b.socket + ".control", "--log-level", "error",
		"--initiator-name", "iqn.2026-01.net.braid:" + name}
	args = append(args, s.flags...)
	if s.mcs {
		return append(args, fmt.Sprintf("iscsi://%s/%s/1", strings.Join(t.portals, ","), iqn))
	}
	for _, p := range t.portals {
		args = append(args, fmt.Sprintf("iscsi://%s/%s/1", p, iqn))
	}
	return args
}

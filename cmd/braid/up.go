package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"braid/internal/loop"
	"braid/internal/stack"
	"braid/nbd/nbdnl"
)

func newUp() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up NAME | URL... [flags]",
		Short: "Run a device in the foreground",
		Long: "Run a device in the foreground: by NAME from /etc/braid/NAME.toml, or by its\n" +
			"URLs, each a session of its own:\n" +
			"  iscsi://[user@]HOST[:3260][,HOST[:PORT]...]/TARGET-IQN/LUN\n" +
			"Several portals in one URL are the connections of one session (MC/S).\n" +
			"A name with a slash or .toml in it is the path of a configuration file.",
		Args: argCount(1, -1, "a NAME or URLs"),
	}
	flags := NewFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := loadConfig(args, flags)
		if err != nil {
			return err
		}
		return up(c, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// up runs a device until it is stopped or cannot go on.
func up(c Config, stdout, stderr io.Writer) error {
	log := NewLog(stderr, c.LogLevel, c.LogFormat)
	defer log.Close()
	p, err := newPlan(c)
	if err != nil {
		return explain(err)
	}
	for _, weak := range p.sessions[0].Offer.Auth.Warnings() {
		log.Log(slog.LevelWarn, weak, "remedy", "a longer one, at the target as well")
	}
	if c.NBDSockets > 1 && !c.kernelDevice() {
		log.Log(slog.LevelWarn, "nbd_sockets has no effect: no kernel device is served")
	}
	folder, err := lockFolder()
	if err != nil {
		return err
	}
	locks := newLockSet(folder, p.initiator, string(c.Name))
	defer locks.releaseAll()
	if _, err := locks.take(c.URLs...); err != nil {
		return err
	}
	if err := p.takeOver(); err != nil {
		return err
	}
	if p.device.Untold {
		log.Log(slog.LevelWarn, "acknowledged data may have been lost when the daemon before this one "+
			"ended, and nobody was told: the first flush fails")
	}
	for _, e := range c.NBD {
		if err := prepareExport(e); err != nil {
			return fmt.Errorf("cannot serve at %v: %w", e, err)
		}
	}
	d, err := newDaemon(p, log)
	if err != nil {
		return err
	}
	d.locks = locks
	return d.run(stdout)
}

func newDaemon(p *plan, log *Log) (*daemon, error) {
	l, err := loop.New(loop.Config{DialTimeout: time.Duration(p.config.LoginTimeout)})
	if err != nil {
		return nil, err
	}
	pool, err := loop.NewPool(int64(p.config.Retain) + poolExtra)
	if err != nil {
		return nil, err
	}
	if p.config.kernelDevice() {
		protect(pool.Size(), log.Log)
	}
	cfg := p.stackConfig()
	cfg.Network, cfg.Pool, cfg.Log = l, pool, log.Log
	cfg.Rand = mrand.New(mrand.NewPCG(mrand.Uint64(), mrand.Uint64()))
	cfg.CHAPRand = rand.Reader
	d := &daemon{
		plan: p, loop: l, log: log, began: time.Now(),
		stack:   stack.New(l.Now(), cfg),
		startBy: math.MaxInt64,
	}
	if t := time.Duration(p.config.StartTimeout); t > 0 {
		d.startBy = l.Now() + t
	}
	return d, nil
}

// run is the daemon's life.
func (d *daemon) run(stdout io.Writer) error {
	d.store = OpenStateStore(d.plan.stateFile)
	defer d.store.Close()
	d.ready = func() error { return d.sayReady(stdout) }

	control, err := d.openControl()
	if err != nil {
		return err
	}
	if control != nil {
		defer control.Close()
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE) // a reader of the log that goes away is no reason to end
	defer signal.Stop(signals)
	go func() {
		for {
			select {
			case s := <-signals:
				d.Stop(s.String())
			case <-d.loop.Done():
				return
			}
		}
	}()
	go d.watchLinks(d.loop.Done())
	keepWatch(d.loop, d.log.Log)
	if err := d.loop.Run(d); err != nil {
		return err
	}
	if d.unflushed != nil {
		d.log.Log(slog.LevelError, d.unflushed.Error())
	}
	return explain(d.err)
}

// sayReady prints the line that says that the device is there, and where.
func (d *daemon) sayReady(stdout io.Writer) error {
	words := []string{"ready", string(d.plan.config.Name)}
	for i := range d.plan.config.NBD {
		words = append(words, d.addresses[i])
	}
	line := strings.Join(words, " ")
	if _, err := fmt.Fprintln(stdout, line); err != nil {
		return fmt.Errorf("cannot say that the device is ready: %w", err)
	}
	go notify(d.log.Log, "READY=1\nSTATUS="+line)
	return nil
}

// openControl opens the control socket: the one that is configured, or the one
// in the default folder, if there is such a folder.
func (d *daemon) openControl() (*Control, error) {
	path := string(d.plan.config.Control)
	if path == "" {
		folder, err := runtimeFolder()
		if err != nil {
			d.log.Log(slog.LevelWarn, "running without a control socket", "because", err,
				"remedy", "--control unix:PATH")
			return nil, nil
		}
		path = filepath.Join(folder, string(d.plan.config.Name)+".sock")
	}
	return ServeControl(path, d, d.log.Log)
}

// lockFolder is where locks are kept.
func lockFolder() (string, error) {
	folder, err := runtimeFolder()
	if errors.Is(err, errNoRuntimeFolder) {
		return stateFolder()
	}
	return folder, err
}

// prepareExport says early whether a socket can be had at all, and makes the
// folder of sockets if that is where it goes.
func prepareExport(e Export) error {
	if e.Network == "nbd" {
		if err := nbdnl.Load(); err != nil {
			return fmt.Errorf("%w: `braid doctor` says what mends it; "+
				"--nbd unix:PATH serves a socket and needs no driver", err)
		}
		return nil
	}
	if e.Network == "tcp" {
		l, err := net.Listen("tcp", e.Address)
		if errors.Is(err, syscall.EADDRINUSE) {
			return errors.New("the address is in use by another process: end it, or name another port")
		}
		if err != nil {
			return err
		}
		return l.Close()
	}
	folder := filepath.Dir(e.Address)
	if run, err := runtimeFolder(); err == nil && run == folder {
		if _, err := makeFolder(folder); err != nil {
			return err
		}
	}
	if _, err := os.Stat(folder); err != nil {
		return fmt.Errorf("%w: make the folder, or name another path", err)
	}
	return clearSocket(e.Address)
}

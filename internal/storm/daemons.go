package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// daemons are the braids, each with a device of its own behind the same target.
type daemons struct {
	settings
	portals []string
	folder  string
	running []*exec.Cmd
}

func (d *daemons) start(ctx context.Context) error {
	var err error
	if d.folder, err = os.MkdirTemp("", "storm-"); err != nil {
		return err
	}
	for i := range d.daemons {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.one(i); err != nil {
			return err
		}
	}
	return nil
}

func (d *daemons) one(i int) error {
	device := fmt.Sprintf("storm%d", i)
	args := []string{"up", "--name", device, "--retain", "1MiB", "--start-timeout", "0",
		"--log-level", "error", "--initiator-name", "iqn.2026-01.net.braid:" + device,
		"--nbd", "unix:" + filepath.Join(d.folder, device+".nbd"),
		"--control", "unix:" + filepath.Join(d.folder, device+".sock")}
	for _, p := range d.portals {
		args = append(args, "iscsi://"+p+"/"+name+"/1")
	}
	log, err := os.Create(filepath.Join(d.folder, device+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.braid, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+d.folder, "RUNTIME_DIRECTORY="+d.folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", d.braid, err)
	}
	d.running = append(d.running, cmd)
	return nil
}

// end stops them, and kills those that do not stop.
func (d *daemons) end() {
	for _, c := range d.running {
		c.Process.Signal(syscall.SIGTERM)
	}
	late := time.AfterFunc(15*time.Second, func() {
		for _, c := range d.running {
			c.Process.Kill()
		}
	})
	defer late.Stop()
	for _, c := range d.running {
		c.Wait()
	}
	os.RemoveAll(d.folder)
}

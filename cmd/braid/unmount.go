package main

import (
	"os/exec"
	"strings"

	"braid/nbd/nbdnl"
)

// mountTable is where mount(8) keeps what the kernel does not know of a mount.
const mountTable = "/run/mount/utab"

// unmounter gives what begins to unmount a device's file systems that systemd
// takes for local: those without _netdev, as when they were mounted by hand. systemd
// unmounts them only after all services have ended, this device's daemon as well.
// Nothing is waited for: an unmount may wait for the device.
func unmounter(index int) func() {
	under := make(map[string]chan struct{}) // what is under way
	return func() {
		points, err := nbdnl.Mounts(index)
		if err != nil {
			return
		}
		network := networkMounts((&machine{root: "/"}).text(mountTable))
		for _, p := range points {
			if done := under[p]; network[p] || done != nil && !isClosed(done) {
				continue
			}
			cmd := exec.Command("umount", "--", p)
			if cmd.Start() != nil {
				continue
			}
			done := make(chan struct{})
			under[p] = done
			go func() {
				cmd.Wait() // while it is busy it fails, and is tried again
				close(done)
			}()
		}
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// networkMounts are the mount points with the option _netdev. A line is like
// SRC=/dev/nbd0 TARGET=/srv ROOT=/ OPTS=_netdev
func networkMounts(table string) map[string]bool {
	found := make(map[string]bool)
	for line := range strings.Lines(table) {
		target, options := "", ""
		for _, field := range strings.Fields(line) {
			if v, ok := strings.CutPrefix(field, "TARGET="); ok {
				target = nbdnl.UnescapeMount(v)
			}
			if v, ok := strings.CutPrefix(field, "OPTS="); ok {
				options = nbdnl.UnescapeMount(v)
			}
		}
		for _, o := range strings.Split(options, ",") {
			if o == "_netdev" && target != "" {
				found[target] = true
			}
		}
	}
	return found
}

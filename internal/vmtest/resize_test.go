//go:build guest

package vmtest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestResize has a LUN grow under a mounted file system with verified load.
func TestResize(t *testing.T) {
	const small, large = 128 << 20, 224 << 20
	run(t, "modprobe", "brd", "rd_nr=1", fmt.Sprintf("rd_size=%d", large>>10))
	table := func(size int) string { return fmt.Sprintf("0 %d linear /dev/ram0 0", size>>9) }
	run(t, "dmsetup", "create", "lun", "--table", table(small))
	run(t, "dmsetup", "mknodes")
	l := newLIOOf(t, 2, func(l *lio) string { return l.makeBlockDisk("disk0", "/dev/mapper/lun") })
	d := up(t, l.sessions())
	d.awaitPaths(2, 1)
	run(t, "mkfs.ext4", "-q", device)
	mount := t.TempDir()
	run(t, "mount", device, mount)
	files := fill(t, mount)
	load := startLoad(t, mount, 15*time.Second)

	run(t, "dmsetup", "suspend", "lun")
	run(t, "dmsetup", "reload", "lun", "--table", table(large))
	run(t, "dmsetup", "resume", "lun")
	run(t, program, "resize", name)
	for deadline := time.Now().Add(patience); deviceSize(t) != large; {
		if time.Now().After(deadline) {
			t.Fatalf("the device has %d bytes, want %d", deviceSize(t), large)
		}
		time.Sleep(100 * time.Millisecond)
	}
	run(t, "resize2fs", device)
	load.wait()
	check(t, files)
	run(t, "umount", mount)
	run(t, "e2fsck", "-fn", device)
	d.stop()
}

func deviceSize(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/sys/block/nbd0/size")
	must(t, err)
	sectors, err := strconv.Atoi(strings.TrimSpace(string(data)))
	must(t, err)
	return sectors << 9
}

package mpath

import (
	"testing"
	"time"
)

// TestProtectedAfterWrites: what was written before a LUN became write protected is flushed
// all the same.
func TestProtectedAfterWrites(t *testing.T) {
	r := ready(t, 1)
	r.want(r.write(0, 512, 1), OK)
	r.d.lun.WriteProtected = true
	r.want(r.write(512, 512, 2), EPERM)
	r.want(r.flush(), OK)
	if r.lun.stable[0] != 1 {
		t.Error("it is not stable")
	}
}

// TestProtectionIsLookedAtForNewcomers: a client that finds the LUN write protected may never
// try to write, and the target need not tell that it is not protected any more.
func TestProtectionIsLookedAtForNewcomers(t *testing.T) {
	r := ready(t, 1)
	r.d.lun.WriteProtected = true
	r.after(time.Minute)
	if !r.d.ReadOnly() {
		t.Fatal("it was looked at without a client")
	}
	r.d.Arrived(7)
	r.run()
	if r.d.ReadOnly() {
		t.Error("it still counts as protected")
	}
	r.want(r.write(0, 512, 1), OK)
}

package mpath

import "testing"

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

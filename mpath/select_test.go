package mpath

import (
	"fmt"
	"testing"
	"time"

	"braid/iscsi/scsi"
)

// fill lets a path have all that it is given for a second, and keeps it there.
func (r *rig) fill(slot int) *fakePath {
	r.d.slots[slot].service.price = uint64(queueTime) << priceShift / Chunk
	p := r.path(slot)
	p.hold = holding(scsi.OpWrite16)
	return p
}

// TestFullPath: no write waits for paths that are full, if another one has room.
func TestFullPath(t *testing.T) {
	for _, sel := range []Selector{QueueLength, RoundRobin} {
		t.Run(fmt.Sprintf("selector %d", sel), func(t *testing.T) {
			const full = 5 // paths, each with one write
			r := ready(t, full+1, func(c *Config, _ *fakeLUN) { c.Selector = sel })
			for i := range full {
				r.fill(i)
			}
			other := r.path(full)
			other.hold = holding(scsi.OpWrite16)
			r.d.slots[full].service.price = 1
			for i := range uint64(3 * full) {
				r.write(i*Chunk, Chunk, 1)
				r.step()
				if r.d.stalled.n > 0 {
					t.Fatalf("write %d waits", i)
				}
			}
			if len(other.queue) < 2*full {
				t.Errorf("the path that has room got %d of %d writes", len(other.queue), 3*full)
			}
		})
	}
}

// TestAllPathsFull: a write waits then, and goes out on the first path that has room.
func TestAllPathsFull(t *testing.T) {
	for _, sel := range []Selector{ServiceTime, QueueLength, RoundRobin} {
		t.Run(fmt.Sprintf("selector %d", sel), func(t *testing.T) {
			r := ready(t, 2, func(c *Config, _ *fakeLUN) { c.Selector = sel })
			paths := []*fakePath{r.fill(0), r.fill(1)}
			for i := range uint64(3) {
				r.write(i*Chunk, Chunk, 1)
				r.step()
			}
			if len(paths[0].queue) != 1 || len(paths[1].queue) != 1 {
				t.Fatalf("%d and %d writes are out", len(paths[0].queue), len(paths[1].queue))
			}
			paths[1].hold = nil
			r.run()
			if len(paths[0].queue) != 1 || paths[1].count(scsi.OpWrite16) != 2 {
				t.Error("the third write did not go out on the path that had room again")
			}
		})
	}
}

// TestBestPathFull: where times are compared, a write waits for the path that is full if
// another one would take longer, and for no other reason.
func TestBestPathFull(t *testing.T) {
	for _, c := range []struct {
		name  string
		chunk time.Duration // that the other path takes for one
		want  int           // of two writes, that it is given
	}{
		{"slower than the wait", 3 * queueTime, 0},
		{"not as slow", 3 * queueTime / 2, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, 2)
			full, other := r.fill(0), r.path(1)
			other.hold = holding(scsi.OpWrite16)
			v := &r.d.slots[1].service
			v.price, v.used, v.rest = uint64(c.chunk)<<priceShift/Chunk, r.now, restMax
			for i := range uint64(2) {
				r.write(i*Chunk, Chunk, 1)
				r.step()
			}
			if len(full.queue) != 1 || len(other.queue) != c.want {
				t.Errorf("%d and %d writes are out", len(full.queue), len(other.queue))
			}
		})
	}
}

// TestNewPathFull: a path that has not answered yet takes so much and no more; nothing waits
// for its first answer.
func TestNewPathFull(t *testing.T) {
	r := ready(t, 2)
	fresh, other := r.path(0), r.path(1)
	fresh.hold = holding(scsi.OpWrite16)
	other.hold = fresh.hold
	r.d.slots[1].service.price = 1 << priceShift
	const n = 3 * queueFirst / Chunk
	for i := range uint64(n) {
		r.write(i*Chunk, Chunk, 1)
		r.step()
	}
	if len(fresh.queue)+len(other.queue) != n || len(other.queue) == 0 {
		t.Errorf("%d and %d of %d writes are out", len(fresh.queue), len(other.queue), n)
	}
}

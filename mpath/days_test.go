package mpath

import (
	"log/slog"
	"runtime"
	"testing"
	"time"
)

// deadEnds opens sessions that never come up.
type deadEnds struct{ opened int }

func (o *deadEnds) Open(time.Duration, int, int) Path {
	o.opened++
	return &fakePath{err: errCut}
}

// TestDaysWithoutPath: I/O waits for a path for a week, and neither memory nor the work
// that each hour takes grows.
func TestDaysWithoutPath(t *testing.T) {
	r := ready(t, 4, flapConfig, func(c *Config, _ *fakeLUN) {
		c.RetryMin, c.RetryMax = 500*ms, 30*time.Second
		c.Log = func(slog.Level, string, ...any) {}
	})
	r.want(r.write(0, 4096, 1), OK)
	for i := range 4 {
		r.path(i).hold = holding(0x8a, 0x88) // what is out when they are lost is doubtful
	}
	var waiting []*Request
	for i := range 64 {
		waiting = append(waiting, r.write(uint64(i)*8192, 8192, 2), r.read(2<<20, 4096))
	}
	r.step()
	for i := range 4 {
		r.path(i).Kill(r.now, errCut)
	}
	ends := new(deadEnds)
	r.d.open = ends
	for i := range 64 {
		waiting = append(waiting, r.write(uint64(i)*8192, 8192, 3), r.flush())
	}
	hours := func(n int) (heap int64, opened int) {
		opened = ends.opened
		for end := r.now + time.Duration(n)*time.Hour; r.now < end; {
			r.d.Step(r.now)
			r.now = max(r.now+1, min(end, r.d.Deadline()))
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc), ends.opened - opened
	}
	before, first := hours(24)
	after, week := hours(24 * 7)
	if grown := after - before; grown > 64<<10 {
		t.Errorf("the heap has grown by %d bytes in a week", grown)
	}
	// Four paths, each tried every 15 s on the average: 960 an hour.
	if perDay := week / 7; perDay > 24*960*11/10 || first < perDay/2 {
		t.Errorf("%d sessions were tried on a day, %d on the first", perDay, first)
	}
	for _, q := range waiting {
		if r.isDone(q) {
			t.Fatalf("a request ended with %d (%v)", q.Err, q.Reason)
		}
	}
	if st := r.d.Status(r.now); st.State != "queueing" || st.NoPathFor < 8*24*time.Hour {
		t.Errorf("%s for %v", st.State, st.NoPathFor)
	}

	r.d.open = r
	r.after(2 * time.Minute)
	for _, q := range waiting {
		r.want(q, OK)
	}
	r.check(0, 64*8192, 3)
}

package barrier

import (
	"testing"
)

func TestReserve(t *testing.T) {
	l := NewLedger(100)
	steps := []struct {
		ask  uint64
		want bool
		used uint64
	}{{60, true, 60}, {50, false, 60}, {40, true, 100}, {1, false, 100}}
	for _, s := range steps {
		if got := l.Reserve(s.ask); got != s.want || l.Used() != s.used {
			t.Errorf("Reserve(%d) = %v with %d used, want %v with %d", s.ask, got, l.Used(), s.want, s.used)
		}
	}
	l = NewLedger(100)
	if !l.Reserve(101) {
		t.Error("what is larger than the limit has no room, although there is nothing else")
	}
	if l.Reserve(1) {
		t.Error("and something more has")
	}
}

// TestSharedBuffer: several writes have parts of one piece of memory; it comes back
// once, with the last of them.
func TestSharedBuffer(t *testing.T) {
	l := NewLedger(100)
	l.Up(0)
	mem := make([]byte, 30, 32)
	l.Reserve(32)
	b := l.Buffer(mem)
	var parts []*Write
	for i := range uint64(3) {
		w := l.New()
		w.Off, w.End, w.Data, w.Keep, w.Owner = i*10, i*10+10, mem[i*10:i*10+10], true, i
		l.Attach(w, b)
		l.Begin(w)
		parts = append(parts, w)
	}
	for range parts {
		l.Sent(l.Ready(), 0)
	}
	l.Refused(parts[0])
	l.Answered(parts[1])
	l.Answered(parts[2])
	if l.Released() != nil || l.Used() != 32 {
		t.Fatalf("memory came back early; %d used", l.Used())
	}
	c := NewCoordinator(l, Epoch)
	c.Flush(&Flush{Scope: All})
	y, ok := c.NextSync()
	if !ok {
		t.Fatal("no SYNC")
	}
	c.Synced(y)
	if got := l.Released(); len(got) != 30 || cap(got) != 32 || &got[0] != &mem[0] {
		t.Fatalf("%d bytes came back", len(got))
	}
	if l.Released() != nil || l.Used() != 0 {
		t.Errorf("more came back, or %d bytes are used still", l.Used())
	}
}

func TestMisusePanics(t *testing.T) {
	begin := func(l *Ledger) *Write {
		w := l.New()
		w.Off, w.End, w.Kind = 0, 8, Trim
		l.Begin(w)
		return w
	}
	for name, f := range map[string]func(l *Ledger){
		"an empty write":             func(l *Ledger) { l.Begin(l.New()) },
		"a second begin":             func(l *Ledger) { l.Begin(begin(l)) },
		"sent before it is ready":    func(l *Ledger) { begin(l); l.Sent(begin(l), 0) },
		"sent before it is given":    func(l *Ledger) { l.Sent(begin(l), 0) },
		"an answer that is not owed": func(l *Ledger) { l.Answered(begin(l)) },
		"a doubt about what is here": func(l *Ledger) { l.Unknown(begin(l), true) },
		"given up while it is out": func(l *Ledger) {
			w := begin(l)
			l.Sent(l.Ready(), 0)
			l.Abandon(w)
		},
		"discard of a client's write": func(l *Ledger) { begin(l); l.Discard(l.Ready()) },
	} {
		l := NewLedger(0)
		l.Up(0)
		mustPanic(t, name, func() { f(l) })
	}
}

// TestManyReplays: copies are written again in bounded numbers, in any number.
func TestManyReplays(t *testing.T) {
	const n = 5 * maxReplays
	l := NewLedger(1 << 20)
	l.Up(0)
	l.Up(1)
	for i := range uint64(n) {
		w := l.New()
		w.Off, w.End, w.Data, w.Keep = i, i+1, []byte{byte(i)}, true
		l.Reserve(1)
		l.Attach(w, l.Buffer(w.Data))
		l.Begin(w)
		l.Sent(l.Ready(), 0)
		l.Answered(w)
	}
	l.Lost(0)
	seen := map[uint64]bool{}
	for l.Replays() > 0 {
		var batch []*Write
		for w := l.Ready(); w != nil; w = l.Ready() {
			if w.Data[0] != byte(w.Off) || seen[w.Off] {
				t.Fatalf("copy of block %d is %d, or comes twice", w.Off, w.Data[0])
			}
			seen[w.Off] = true
			l.Sent(w, 1)
			batch = append(batch, w)
		}
		if len(batch) == 0 || len(batch) > maxReplays {
			t.Fatalf("%d copies go out at a time", len(batch))
		}
		for _, w := range batch {
			l.Answered(w)
		}
		if err := checkInvariants(l); err != nil {
			t.Fatal(err)
		}
	}
	if count, bytes := l.Replayed(); len(seen) != n || count != n || bytes != n {
		t.Errorf("%d copies written, counted %d of %d bytes", len(seen), count, bytes)
	}
}

// TestUnstableWithoutCopies: bytes of which no copy is kept are unstable until a SYNC that was
// sent after their answer, whatever becomes of the session meanwhile.
func TestUnstableWithoutCopies(t *testing.T) {
	l := NewLedger(0)
	c := NewCoordinator(l, Epoch)
	l.Up(0)
	l.Up(1)
	write := func(slot int, off, n uint64) {
		w := l.New()
		w.Off, w.End, w.Kind = off, off+n, Trim
		l.Begin(w)
		l.Sent(l.Ready(), slot)
		l.Answered(w)
	}
	want := func(what string, n uint64) {
		t.Helper()
		if got := l.Unstable(); got != n {
			t.Errorf("%s: %d bytes are unstable, want %d", what, got, n)
		}
	}
	sync := func() (list []Token) {
		c.Flush(&Flush{Scope: All})
		for y, ok := c.NextSync(); ok; y, ok = c.NextSync() {
			list = append(list, y)
		}
		return list
	}
	write(0, 0, 100)
	write(1, 100, 10)
	want("written on both", 110)
	y := sync()
	write(0, 200, 1000)
	c.Synced(y[0])
	c.Synced(y[1])
	want("written after the SYNC was sent", 1000)
	l.Lost(0)
	want("the session is lost", 1000)
	l.Fenced(0)
	l.Up(0)
	want("and is back", 1000)
	for _, y := range sync() {
		c.Synced(y)
	}
	want("and was synced", 0)
	write(0, 0, 5)
	write(1, 10, 7)
	l.CacheLost()
	want("the cache is lost", 0)
	write(1, 10, 7)
	l.Standby(1)
	want("another session stands for it", 7)
	for _, y := range sync() {
		c.Synced(y)
	}
	want("and was synced", 0)
	write(0, 0, 9)
	l.Lost(0)
	l.Lose(0)
	want("all sessions were lost", 0)
}

package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// paper is a disk of one block per letter, for histories written down by hand.
type paper struct{ op []uint32 }

func (p *paper) ReadStable(dst []byte, lba uint64) {
	clear(dst)
	if op := p.op[lba]; op != zeroOp {
		stamp(dst, op, lba)
	}
}

// history plays a history over a disk of one block. Its words:
//
//	w1 z1 t1     a write, zeroing or trim called 1 begins; W1 with FUA
//	f1 r1        a flush or read begins
//	+1           it is answered; for a read +1=2 with the value of 2, =0 with zeroes
//	-1           nobody waits for it any more; !1 it ends with an error
//	d2           the stable content of the block is now the value of 2
//	c            the cache is lost; x the same, and the daemon keeps no copies
//	k            the daemon is killed
//	b            the daemons of this history keep no copies
func history(words string) string { return play(words).fault }

func play(words string) *auditor {
	disk := &paper{op: make([]uint32, 1)}
	a := newAuditor(512, 1, disk)
	a.now = func() time.Duration { return time.Duration(a.moment) * time.Second }
	a.excused = func(*request, uint32) bool { return true }
	reqs := map[string]*request{"0": {}}
	for _, w := range strings.Fields(words) {
		name, value, _ := strings.Cut(w[1:], "=")
		switch w[0] {
		case '+':
			b := make([]byte, 512)
			if v := reqs[value]; v != nil && v.id != 0 {
				stamp(b, v.id, 0)
			}
			a.end(reqs[name], 0, b)
		case '-':
			a.lost(reqs[name])
		case '!':
			a.end(reqs[name], 5, nil)
		case 'b':
			a.crash.noCopies, a.lin.bare = true, true
		case 'k':
			a.crash.possible = true
			a.daemonDied(1, false)
		case 'c', 'x':
			a.crash.possible, a.crash.noCopies = true, w[0] == 'x'
			a.cacheLost()
		case 'd':
			disk.op[0] = reqs[name].id
		default:
			kind := map[byte]opKind{'w': opWrite, 'W': opWrite, 'z': opZero, 't': opTrim, 'f': opFlush,
				'r': opRead}[w[0]]
			r := &request{kind: kind, n: 1, fua: w[0] == 'W', daemon: 1}
			reqs[name] = r
			a.begin(r)
		}
	}
	return a
}

// TestLinear: what the search for one order finds, and the auditor leaves open.
func TestLinear(t *testing.T) {
	for _, c := range []struct {
		what, words string
		wrong       bool
	}{
		{"one after the other", "w1 +1 r2 +2=1 w3 +3 r4 +4=3", false},
		{"an old value", "w1 +1 w3 +3 r4 +4=1", true},
		{"a write under way may be seen", "w1 r2 +2=1 r3 +3=1 +1", false},
		{"but not be taken back", "w1 r2 +2=1 r3 +3=0 +1", true},
		{"if no cache was lost", "w1 r2 +2=1 c r3 +3=0 +1 r4 +4=1", false},
		{"and is there when it is answered", "w1 r2 +2=1 c r3 +3=0 +1 r4 +4=0", true},
		{"what was answered stays in a crash", "w1 +1 c r3 +3=0", true},
		{"if there are copies", "w1 +1 x r3 +3=0 r4 +4=0", false},
		{"two readers see one order", "w1 w2 r3 +3=1 r4 +4=2 r5 +5=1 +1 +2", true},
		{"who gave up may still write", "w1 -1 w2 +2 r3 +3=1", false},
		{"once", "w1 -1 w2 +2 d2 f3 +3 r4 +4=1 r5 +5=2", true},
		{"zeroes", "w1 +1 z2 +2 r3 +3=0", false},
		{"a copy takes back what failed", "w1 +1 w2 r3 +3=2 !2 r4 +4=1 r5 +5=1", false},
		{"and what nobody waits for", "w1 +1 w2 r3 +3=2 -2 r4 +4=1", false},
		{"all of it", "w1 +1 w2 !2 w3 r4 +4=2 r5 +5=3 !3 r6 +6=1", false},
		{"again and again", "w1 +1 w2 r3 +3=2 !2 r4 +4=1 w5 r6 +6=5 !5 r7 +7=1", false},
		{"also if it was zeroes", "z1 +1 w2 r3 +3=2 !2 r4 +4=0", false},
		{"and before a flush", "w1 +1 w2 r3 +3=2 !2 f4 d1 +4 r5 +5=1", false},
		{"once", "w1 +1 w2 r3 +3=2 !2 r4 +4=1 r5 +5=2", true},
		{"what waited for it lies on top", "w1 !1 w2 +2 r3 +3=1 r4 +4=2", true},
		{"not what succeeds", "w1 +1 w2 r3 +3=2 r4 +4=1 +2", true},
		{"not what succeeded", "w1 +1 w2 r3 +3=2 +2 w4 !4 r5 +5=1", true},
		{"a newer write that succeeded has cut the copy",
			"w1 +1 w2 +2 w3 r4 +4=3 !3 r5 +5=1", true},
		{"its own is there", "w1 +1 w2 +2 w3 r4 +4=3 !3 r5 +5=2", false},
		{"one of the beginning is not", "w1 r2 +2=1 !1 r3 +3=0", true},
		{"none behind a flush", "w1 +1 d1 f2 +2 w3 r4 +4=3 !3 r5 +5=1", true},
		{"nor behind one that ended before it was read", "w1 +1 d1 w2 f3 +3 r4 +4=2 !2 r5 +5=1", true},
		{"but behind one that may have ended later", "w1 +1 d1 w2 f3 r4 +3 +4=2 !2 r5 +5=1", false},
		{"none with FUA", "W1 d1 +1 w2 r3 +3=2 !2 r4 +4=1", true},
		{"none of a daemon that died", "w1 +1 k w2 r3 +3=2 !2 r4 +4=1", true},
		{"none if none are kept", "b w1 +1 w2 r3 +3=2 !2 r4 +4=1", true},
		{"a part of what failed may have a copy", "w1 r2 +2=1 !1 w3 r4 +4=3 !3 r5 +5=1", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			a := play(c.words)
			n, fault := a.lin.judge()
			if n == 0 && fault == "" || (fault != "") != c.wrong {
				t.Errorf("%s: %d judged, %q", c.words, n, fault)
			}
		})
	}
}

func TestAuditor(t *testing.T) {
	for _, c := range []struct {
		what, words string
		wrong       bool
	}{
		{"what was written is read", "w1 +1 r2 +2=1", false},
		{"what was overwritten is not", "w1 +1 r2 +2=0", true},
		{"during a write both may be read", "w1 r2 +2=0 r3 +3=1", false},
		{"a write under way may be taken back", "w1 r2 +2=1 r3 +3=0 +1 r4 +4=1", false},
		{"an acknowledged one may not", "w1 r2 +2=1 +1 r3 +3=0", true},
		{"a read that began before the answer may still see the old", "w1 r2 +1 +2=0", false},
		{"two at a time end in either order", "w1 w2 +1 +2 r3 +3=1", false},
		{"but in one", "w1 w2 +1 +2 r3 +3=1 r4 +4=2", true},
		{"a read that saw the one after the other was answered tells",
			"w1 w2 +1 r3 +3=2 +2 r4 +4=1", true},
		{"a read from before the answer does not", "w1 w2 r3 +3=2 +1 +2 r4 +4=1", false},
		{"one that was given up may come at any time", "w1 -1 w2 +2 r3 +3=2 r4 +4=1", false},
		{"zeroes are zeroes", "w1 +1 z2 +2 r3 +3=0", false},
		{"and not what was before", "w1 +1 z2 +2 r3 +3=1", true},
		{"a trim too", "w1 +1 t2 +2 r3 +3=1", true},
		{"a flush with its write on the disk", "w1 +1 d1 f2 +2", false},
		{"a flush without", "w1 +1 f2 +2", true},
		{"a flush covers no write that was not answered", "w1 f2 +1 +2", false},
		{"a newer write is as good", "w1 +1 w2 d2 f3 +3", false},
		{"an older one is not", "w1 +1 w2 +2 d1 f3 +3", true},
		{"FUA is on the disk", "W1 d1 +1", false},
		{"or is not FUA", "W1 +1", true},
		{"FUA says nothing of others", "w1 w2 +2 W3 d3 +3 +1", false},
		{"what nobody wrote", "w1 +1 w2 +2 w3 +3 r4 +4=1", true},
		{"two answers", "w1 +1 +1", true},
		{"lost is lost", "w1 +1 w2 +2 x r3 +3=1 w4 +4 r5 +5=2", true},
		{"a flush promises what may have been lost", "w1 +1 x f2 +2", true},
		{"or it was not", "w1 +1 d1 x f2 +2", false},
		{"a loss with copies is none", "w1 +1 c r2 +2=0", true},
		{"without it is one", "w1 +1 x r2 +2=0", false},
		{"what failed may be taken back", "w1 +1 w2 r3 +3=2 !2 r4 +4=1", false},
		{"but not what succeeded", "w1 +1 w2 r3 +3=2 +2 w4 !4 r5 +5=1", true},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := history(c.words); (got != "") != c.wrong {
				t.Errorf("%s: %q", c.words, got)
			}
		})
	}
}

func TestStamp(t *testing.T) {
	for _, size := range []int{512, 4096} {
		b := make([]byte, size)
		if op, err := readStamp(b, 7, true); op != zeroOp || err != nil {
			t.Errorf("zeroes: %d, %v", op, err)
		}
		stamp(b, 42, 7)
		if op, err := readStamp(b, 7, true); op != 42 || err != nil {
			t.Errorf("stamp: %d, %v", op, err)
		}
		if _, err := readStamp(b, 8, true); err == nil {
			t.Error("the content of another block is taken")
		}
		for i := range b {
			b[i] ^= 1
			if op, err := readStamp(b, 7, true); err == nil && op == 42 {
				t.Fatalf("a flipped bit of byte %d is not seen", i)
			}
			b[i] ^= 1
		}
		fill(b)
		if _, err := readStamp(b, 7, true); err == nil || !strings.Contains(err.Error(), "given back") {
			t.Errorf("poison: %v", err)
		}
	}
}

func TestMemory(t *testing.T) {
	m := newMemory(1 << 20)
	a := m.Get(5000)
	if len(a) != 5000 || cap(a) != 8192 || m.inUse != 8192 {
		t.Fatalf("len %d, cap %d, in use %d", len(a), cap(a), m.inUse)
	}
	m.Put(a)
	a[17] = 1
	if m.checkAll(); m.fault == "" {
		t.Error("a write to what was given back is not found")
	}
	panics := func(what string, f func()) {
		defer func() {
			if recover() == nil {
				t.Errorf("no panic: %s", what)
			}
		}()
		f()
	}
	panics("twice", func() { m.Put(a) })
	panics("in part", func() { b := m.Get(8192); m.Put(b[4096:]) })
	var list [][]byte
	for b := m.Get(maxBuffer); b != nil; b = m.Get(maxBuffer) {
		list = append(list, b)
	}
	if len(list) != 3 {
		t.Errorf("%d buffers fit", len(list))
	}
}

func ExampleDraw() {
	fmt.Println(Draw(1).String()[:7])
	// Output: seed 1:
}

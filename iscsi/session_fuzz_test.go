package iscsi_test

import (
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"braid/internal/fuzz"
	"braid/iscsi"
	"braid/iscsi/login"
	"braid/iscsi/scsi"
	"braid/iscsi/target"
)

const fuzzedBlocks = 48

// A fuzzed run is a world in which the fuzzer decides all: the initiator's engine and the
// target's, login on both sides included.
type fuzzed struct {
	*world
	src     *fuzz.Source
	out     map[*scsi.Command]bool
	over    []*scsi.Command // ended; their data was poisoned
	digests bool
	closes  bool // connections of lost sessions are closed first

	may  [fuzzedBlocks]map[byte]bool // what may be in a block
	busy [fuzzedBlocks]int           // writes of it that are out
	fill byte
	died int
}

// FuzzSession: whatever is submitted, lost, cut, damaged, refused or late, every command
// ends once; one that ended well has moved its bytes; its data is nobody's but the
// owner's afterwards; a session that has ended says nothing and wants nothing more; and no
// engine asks for a step in the past.
func FuzzSession(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x20\x21\x60\x61\x62\x63\x80\x90\xa0\xc0\xd0\xe0\xf0"))
	for seed := range uint64(8) {
		f.Add(fuzz.Noise(seed, 3, 500))
		several := fuzz.Noise(seed, 4, 500) // connections, which are closed when lost
		several[0], several[3] = 9, 4
		f.Add(several)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 5 || len(b) > 800 {
			return
		}
		z := newFuzzed(t, b[:5], &fuzz.Source{Input: b[5:]})
		for len(z.src.Input) > 0 {
			z.act()
			z.check()
		}
		z.heal()
	})
}

func newFuzzed(t *testing.T, how []byte, src *fuzz.Source) *fuzzed {
	z := &fuzzed{src: src, out: map[*scsi.Command]bool{}}
	for i := range z.may {
		z.may[i] = map[byte]bool{0: true}
	}
	level := int(how[0] % 3)
	z.world = newWorld(t, 1, 1+int(how[0]/4%3), func(c *iscsi.Config, tc *target.Config) {
		c.Offer.ErrorRecoveryLevel, tc.ErrorRecoveryLevel = level, level
		tc.DefaultTime2Wait, tc.DefaultTime2Retain = int(how[0]>>7), 5
		c.Offer.InitialR2T, c.Offer.ImmediateData = how[1]&1 != 0, how[1]&2 != 0
		c.Offer.MaxRecvDataSegmentLength = 512 << (how[1] >> 2 & 3)
		c.Offer.MaxBurstLength = 1024 << (how[1] >> 4 & 3)
		c.Offer.FirstBurstLength = 512 << (how[1] >> 6 & 1)
		c.Offer.MaxOutstandingR2T = 1 + int(how[2]&3)
		tc.MaxRecvDataSegmentLength = 512 << (how[2] >> 2 & 3)
		tc.QueueDepth = 1 + int(how[2]>>4)
		if z.digests = how[3]&1 != 0; z.digests {
			c.Offer.HeaderDigest, c.Offer.DataDigest = login.DigestCRC32C, login.DigestCRC32C
		}
		if how[3]&2 != 0 {
			secret := []byte("a secret of many letters")
			c.Offer.Auth = login.Auth{User: "joe", Secret: secret}
			tc.Secrets = func(string) ([]byte, bool) { return secret, true }
			tc.RequireCHAP = true
		}
		z.closes = how[3]&4 != 0
		tc.NopInterval = time.Duration(how[3]>>6) * 3 * time.Second
		c.Log = func(slog.Level, string, ...any) {}
	})
	z.rnd = rand.New(src)
	return z
}

func (z *fuzzed) act() {
	portal := z.rnd.IntN(len(z.cfg.Portals))
	switch k := z.rnd.IntN(32); {
	case k < 9:
		z.submit()
	case k < 21:
		z.dial()
		if len(z.wires) > 0 {
			z.wires[z.rnd.IntN(len(z.wires))].move(z.world)
		}
	case k < 23:
		z.tick(min(z.s.Deadline(), z.target.Deadline()) - z.now)
	case k == 23:
		z.tick(time.Duration(z.rnd.IntN(256)) * 20 * time.Millisecond)
	case k == 24:
		z.cut()
	case k == 25:
		z.damage()
	case k == 26:
		z.target.Disturb(target.Disturbance{What: target.PDUs(z.rnd.IntN(12)), Portal: -1, Count: 1,
			Digest: target.Damage(z.rnd.IntN(3))})
	case k == 27:
		z.trouble(portal)
	case k == 28:
		z.ask(portal)
	case k == 29:
		z.target.Undisturb()
		z.target.Delay(portal, target.AnyCommand, 0, 0)
	case k == 30:
		z.s.Probe(z.now)
	case z.rnd.IntN(3) == 0:
		z.s.Kill(z.now, nil)
	case z.rnd.IntN(2) == 0:
		z.s.Logout(z.now)
	default:
		z.s.LinkDown(z.now, []string{z.cfg.Portals[portal]}, errors.New("no carrier"))
	}
}

// trouble is a fault of the target's.
func (z *fuzzed) trouble(portal int) {
	switch z.rnd.IntN(5) {
	case 0:
		z.target.Delay(portal, target.AnyCommand, 0, time.Duration(z.rnd.IntN(256))*time.Second/4)
	case 1:
		z.target.RefuseSNACKs(1)
	case 2:
		z.target.RefuseReassigns(1)
	case 3:
		z.target.RefuseLogins(1, z.rnd.IntN(2) == 0)
	case 4:
		z.target.ResetCID(z.now, uint16(z.rnd.IntN(3)))
	}
}

// ask is what the target asks for, or does, of its own accord.
func (z *fuzzed) ask(portal int) {
	switch z.rnd.IntN(4) {
	case 0:
		z.target.AskLogout(z.now, portal, time.Duration(z.rnd.IntN(4))*time.Second)
	case 1:
		z.target.DropConns(z.now, portal)
	case 2:
		z.target.DropSessions(z.now, portal)
	case 3:
		if len(z.wires) > 0 {
			if x := z.wires[z.rnd.IntN(len(z.wires))]; !x.bGone {
				z.target.CutConn(z.now, x.b)
			}
		}
	}
}

// submit sends a command. Writes that overlap are not out at the same time.
func (z *fuzzed) submit() {
	if len(z.out) >= 24 {
		return
	}
	at := z.rnd.IntN(fuzzedBlocks)
	n := 1 + z.rnd.IntN(min(12, fuzzedBlocks-at))
	c := &scsi.Command{Timeout: 30 * time.Second, Data: make([]byte, n*block), Owner: [2]int{at, n}}
	switch k := z.rnd.IntN(8); {
	case k == 0:
		c.CDB, c.Data = scsi.TestUnitReady(), nil
	case k == 1:
		c.CDB, c.Data = scsi.SynchronizeCache16(0, 0), nil
	case k < 5:
		c.CDB, c.Dir = scsi.Read16(uint64(at), uint32(n), false), scsi.Read
	default:
		for b := at; b < at+n; b++ {
			if z.busy[b] > 0 {
				return
			}
		}
		z.fill = z.fill%200 + 1
		c.CDB, c.Dir = scsi.Write16(uint64(at), uint32(n), false), scsi.Write
		for i := range c.Data {
			c.Data[i] = z.fill
		}
		for b := at; b < at+n; b++ {
			z.busy[b]++
			z.may[b][z.fill] = true
		}
	}
	z.out[c] = true
	z.s.Submit(z.now, c)
}

// tick lets time pass.
func (z *fuzzed) tick(d time.Duration) {
	if d < 0 {
		d = 0
	}
	z.now += min(d, 10*time.Second)
	for n := 0; ; n++ { // what one Tick starts may want another
		z.s.Tick(z.now)
		z.target.Tick(z.now)
		if z.s.Deadline() > z.now && z.target.Deadline() > z.now {
			return
		}
		if n == 8 {
			z.t.Fatalf("steps at %v and %v are asked for, now is %v", z.s.Deadline(),
				z.target.Deadline(), z.now)
		}
	}
}

// cut ends a connection as the network does.
func (z *fuzzed) cut() {
	if len(z.wires) == 0 {
		return
	}
	x := z.wires[z.rnd.IntN(len(z.wires))]
	if x.ab, x.ba = nil, nil; !x.aGone {
		x.aGone = true
		x.a.Closed(z.now, errors.New("connection reset by peer"))
	}
	if z.rnd.IntN(2) == 0 && !x.bGone { // else it notices later
		x.bGone = true
		x.b.Closed(z.now, errors.New("connection reset by peer"))
	}
	x.finished = x.aGone && x.bGone
}

// damage turns a bit on its way, where a digest finds it.
func (z *fuzzed) damage() {
	if len(z.wires) == 0 {
		return
	}
	x := z.wires[z.rnd.IntN(len(z.wires))]
	if !z.digests || x.aGone || x.a.State() != "up" || x.b.InLogin() {
		return
	}
	queue := x.ba
	if z.rnd.IntN(2) == 0 {
		queue = x.ab
	}
	if len(queue) > 0 {
		queue[z.rnd.IntN(len(queue))] ^= 1 << z.rnd.IntN(8)
	}
}

// check takes commands back and replaces a session that has ended.
func (z *fuzzed) check() {
	for c := z.s.Completed(); c != nil; c = z.s.Completed() {
		if !z.out[c] {
			z.t.Fatalf("a command came back twice: %v", c.Err)
		}
		delete(z.out, c)
		z.ended(c)
	}
	if z.s.Err() == nil {
		return
	}
	if n := len(z.out); n > 0 {
		z.t.Fatalf("%d commands did not come back from a session that is dead: %v", n, z.s.Err())
	}
	if z.s.Deadline() != math.MaxInt64 {
		z.t.Fatalf("a dead session asks for a step at %v", z.s.Deadline())
	}
	for _, c := range z.s.Conns() {
		switch want := c.Want(); {
		case want != iscsi.WantReset && want != iscsi.WantClose:
			z.t.Fatalf("a connection of a dead session wants %d", want)
		case want == iscsi.WantReset && c.HasOutput(), c.RecvBuffers(nil) != nil:
			z.t.Fatal("a connection of a dead session has something to say, or listens")
		}
	}
	for _, x := range z.wires {
		x.halfOpen = z.closes && z.rnd.IntN(4) > 0 // the target does not hear of it
		x.ends(z.world)
	}
	if n := len(z.s.Conns()); n > 0 {
		z.t.Fatalf("%d connections are left of a dead session", n)
	}
	z.died++
	cfg := z.cfg
	if z.closes {
		cfg.Former = z.s.Former()
	}
	z.s = iscsi.New(z.now, cfg)
	z.wires = nil
}

// ended judges a command that came back, and poisons its data: it is nobody's now.
func (z *fuzzed) ended(c *scsi.Command) {
	at, n := c.Owner.([2]int)[0], c.Owner.([2]int)[1]
	switch {
	case c.Dir == scsi.Write:
		for b := at; b < at+n; b++ {
			z.busy[b]--
		}
	case c.Dir == scsi.Read && c.Err == nil:
		for i := range n {
			got := c.Data[i*block : (i+1)*block]
			if !z.may[at+i][got[0]] || got[0] != got[block-1] {
				z.t.Fatalf("block %d is %d to %d", at+i, got[0], got[block-1])
			}
		}
	}
	if c.Err == nil && c.Transferred != len(c.Data) {
		z.t.Fatalf("%d bytes of %d", c.Transferred, len(c.Data))
	}
	for i := range c.Data {
		c.Data[i] = 0xee
	}
	z.over = append(z.over, c)
}

// heal lets all go well: what is out ends, and the unit serves.
func (z *fuzzed) heal() {
	z.target.Undisturb()
	z.target.RefuseSNACKs(0)
	z.target.RefuseReassigns(0)
	z.target.RefuseLogins(0, false)
	for p := range z.cfg.Portals {
		z.target.Delay(p, target.AnyCommand, 0, 0)
	}
	good := 0
	for n := 0; good < 3 || len(z.out) > 0; n++ {
		if n == 20000 {
			z.t.Fatalf("%d commands never ended (session up %v, %v)", len(z.out), z.s.Up(), z.s.Err())
		}
		if len(z.out) == 0 {
			c := &scsi.Command{CDB: scsi.Read16(0, fuzzedBlocks, false), Dir: scsi.Read,
				Data: make([]byte, fuzzedBlocks*block), Timeout: 30 * time.Second,
				Owner: [2]int{0, fuzzedBlocks}}
			z.out[c] = true
			z.s.Submit(z.now, c)
		}
		moved := z.dial()
		for _, x := range z.wires {
			moved = x.move(z.world) || moved
		}
		if !moved {
			z.tick(min(z.s.Deadline(), z.target.Deadline()) - z.now)
		}
		before := len(z.over)
		z.check()
		for _, c := range z.over[before:] {
			if c.Err == nil {
				good++
			}
		}
	}
	for _, c := range z.over {
		for _, b := range c.Data {
			if b != 0xee {
				z.t.Fatal("data was touched after its command had come back")
			}
		}
	}
}

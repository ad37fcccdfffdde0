package iscsi

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// FuzzTarget lets a target send what it likes after the login: headers made of
// the input, with tags and numbers near the right ones, cut into the stream as it
// comes. Whatever it does, every command comes back once, its memory beyond what
// it asked for is untouched, and nothing panics.
func FuzzTarget(f *testing.F) {
	f.Add([]byte{0x25, 0x81, 0, 2, 0, 0, 0x3f, 0, 0, 0})
	f.Add([]byte{0x31, 0x80, 1, 0, 0, 1, 0, 2, 0, 0, 0x21, 0x80, 1, 0, 0})
	f.Add([]byte{0x20, 0x80, 9, 1, 0, 0, 0x32, 0x80, 1, 1, 2, 0})
	f.Add([]byte{0x26, 0x80, 0, 0, 0, 0, 0x24, 0x40, 0, 10, 1, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newUp(t, 2, func(c *Config, tc *login.TargetConfig) {
			c.NopInterval = time.Second
			limits(len(script)%2 == 0, len(script)%3 == 0, 512, 2048, 1024, 2)(c, tc)
			c.Offer.DataPDUInOrder = len(script)%5 != 0
			if c.Offer.DataPDUInOrder {
				level(len(script)%4%3)(c, tc)
			}
		})
		var all []*scsi.Command
		for i := range 6 {
			dir := scsi.Read
			if i%2 == 0 {
				dir = scsi.Write
			}
			all = append(all, r.submit(dir, 4096))
		}
		for i := 0; len(script) >= 6; i++ {
			for _, fresh := range r.accept() {
				fresh.logIn()
			}
			p := r.peers[i%len(r.peers)]
			p.take()
			if script[0]&0xc0 == 0xc0 && p.c.fullFeature() {
				p.cut()
			}
			h, data := p.forge(script[:6])
			script = script[6:]
			p.sendHeader(&h, data)
			if i%4 == 3 {
				r.sleep(time.Second)
			}
		}
		r.s.Kill(r.now, nil)
		back := map[*scsi.Command]bool{}
		for c := r.s.Completed(); c != nil; c = r.s.Completed() {
			if back[c] {
				t.Fatal("a command came back twice")
			}
			back[c] = true
		}
		if len(back) != len(all) {
			t.Fatalf("%d of %d commands came back", len(back), len(all))
		}
		if n := r.s.tasks.inUse(); n != 0 {
			t.Fatalf("%d tasks are left", n)
		}
	})
}

// forge makes a PDU of six bytes: opcode, flags, tag, length, offset, the rest.
func (p *peer) forge(b []byte) (pdu.Header, []byte) {
	var h pdu.Header
	n := int(b[3]) * 8
	h[0], h[1] = b[0]&0x3f, b[1]
	h[6], h[7] = byte(n>>8), byte(n)
	h[2], h[3] = b[5]>>6, b[5]&2
	put := func(at int, v uint32) { binary.BigEndian.PutUint32(h[at:], v) }
	put(16, uint32(b[2])%16)
	if b[2] > 200 {
		put(16, pdu.ReservedTag)
	}
	put(20, uint32(b[5]))
	put(24, p.statSN)
	if hasStatus(&h) && b[5]&1 == 0 {
		p.statSN++
	}
	exp, top := p.window()
	put(28, exp)
	put(32, top+uint32(b[5]>>4))
	put(36, uint32(b[4])>>6) // DataSN, R2TSN
	put(40, uint32(b[4]&63)*128)
	put(44, uint32(b[5])*16) // desired length, residual
	return h, make([]byte, n)
}

// FuzzStream feeds bytes as they are.
func FuzzStream(f *testing.F) {
	f.Add([]byte{0x20, 0x80, 0, 0, 0, 0, 0, 0})
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, wire []byte) {
		for _, up := range []bool{false, true} {
			r := newRig(t, 1, nil)
			p := r.accept()[0]
			if up {
				p.logIn()
			}
			cmd := r.submit(scsi.Read, 4096)
			p.take()
			p.feed(wire)
			r.s.Kill(r.now, nil)
			r.ended(cmd)
		}
	})
}

// A target that answers at random but rightly: commands end, each once, each with
// its own bytes, over all connections and all settings.
func TestRandomTarget(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		r := newUp(t, 1+rnd.IntN(4), func(c *Config, tc *login.TargetConfig) {
			limits(rnd.IntN(2) == 0, rnd.IntN(2) == 0, 512+rnd.IntN(3)*1000, 4096+rnd.IntN(4096),
				512+rnd.IntN(3000), 1+rnd.IntN(4))(c, tc)
			c.Offer.DataPDUInOrder, c.Offer.DataSequenceInOrder = rnd.IntN(2) == 0, rnd.IntN(2) == 0
			level(rnd.IntN(3))(c, tc)
			tc.DataPDUInOrder = c.Offer.DataPDUInOrder
			tc.DataSequenceInOrder = c.Offer.DataSequenceInOrder
			if rnd.IntN(2) == 0 {
				c.Offer.DataDigest, tc.DataDigest = login.DigestCRC32C, login.DigestCRC32C
			}
		})
		newHonest(r, rnd).run(300)
	}
}

// An honest is a target that answers SCSI commands of a rig, a bit at a time and
// in random order. Data read is pattern; data written is compared.
type honest struct {
	r    *rig
	rnd  *rand.Rand
	jobs []*job
	cmds map[*scsi.Command]bool // out
	done int
}

type job struct {
	p        *peer
	itt      uint32
	write    bool
	n, moved int
	asked    int // by R2T
	open     int // R2Ts whose data has not all come
	sn       uint32
	data     []byte
	left     []extent // still to ask for, or to send
}

func newHonest(r *rig, rnd *rand.Rand) *honest {
	return &honest{r: r, rnd: rnd, cmds: map[*scsi.Command]bool{}}
}

func (g *honest) run(total int) {
	for submitted := 0; g.done < total; {
		if submitted < total && len(g.cmds) < 20 && g.rnd.IntN(2) == 0 {
			dir := []scsi.Direction{scsi.Read, scsi.Write, scsi.None}[g.rnd.IntN(3)]
			g.cmds[g.r.submit(dir, 1+g.rnd.IntN(20000))] = true
			submitted++
		}
		p := g.r.peers[g.rnd.IntN(len(g.r.peers))]
		p.pull(1 + g.rnd.IntN(5000))
		g.takeIn(p)
		if len(g.jobs) > 0 {
			i := g.rnd.IntN(len(g.jobs))
			if g.step(g.jobs[i]) {
				g.jobs = append(g.jobs[:i], g.jobs[i+1:]...)
			}
		}
		g.check()
	}
}

// check takes commands back.
func (g *honest) check() {
	t := g.r.t
	g.r.alive()
	for c := g.r.s.Completed(); c != nil; c = g.r.s.Completed() {
		if !g.cmds[c] || c.Err != nil {
			t.Fatalf("came back twice, or with %v", c.Err)
		}
		delete(g.cmds, c)
		g.done++
		if want := length(c); c.Transferred != want {
			t.Fatalf("%d bytes of %d", c.Transferred, want)
		}
		if c.Dir != scsi.Read {
			continue
		}
		for i, b := range c.Data {
			if b != byte(i*3) {
				t.Fatalf("byte %d of %d is %d", i, len(c.Data), b)
			}
		}
	}
}

// takeIn looks at what has come.
func (g *honest) takeIn(p *peer) {
	got := p.got
	p.got = nil
	for i := range got {
		h := &got[i].h
		switch h.Opcode() {
		case pdu.OpSCSICommand:
			c, _ := pdu.ParseSCSICommand(h)
			g.r.exp = pdu.Max(g.r.exp, c.CmdSN+1)
			j := &job{p: p, itt: c.ITT, write: c.Write, n: int(c.ExpectedLen)}
			j.data = make([]byte, j.n)
			j.moved = copy(j.data, got[i].data)
			j.asked = j.moved
			if !c.Final {
				j.open, j.asked = 1, min(j.n, g.r.s.params.FirstBurstLength)
			}
			j.cut(g)
			g.jobs = append(g.jobs, j)
		case pdu.OpDataOut:
			d, _ := pdu.ParseDataOut(h)
			for _, j := range g.jobs {
				if j.itt == d.ITT && j.p == p {
					j.moved += copy(j.data[d.Offset:], got[i].data)
					if d.Final {
						j.open--
					}
				}
			}
		}
	}
}

// cut divides what is to be sent or asked for.
func (j *job) cut(g *honest) {
	for at := j.asked; at < j.n; {
		n := min(j.n-at, 1+g.rnd.IntN(g.r.s.params.MaxBurstLength))
		j.left = append(j.left, extent{at, at + n})
		at += n
	}
}

// next is a piece that is left: the first, or any.
func (j *job) next(any bool, rnd *rand.Rand) (at, n int) {
	i := 0
	if any {
		i = rnd.IntN(len(j.left))
	}
	e := j.left[i]
	j.left = append(j.left[:i], j.left[i+1:]...)
	return e.from, e.to - e.from
}

// step moves one command on; it is true when the command has been answered.
func (g *honest) step(j *job) bool {
	params := &g.r.s.params
	switch {
	case j.write && len(j.left) > 0 && j.open < params.MaxOutstandingR2T:
		at, n := j.next(!params.DataSequenceInOrder, g.rnd)
		j.p.r2t(j.itt, j.sn, at, n, j.sn+1000)
		j.sn++
		j.open++
		return false
	case j.write && (j.open > 0 || len(j.left) > 0):
		return false
	case j.write:
		for i, b := range j.data {
			if b != byte(i>>8)^byte(i) {
				g.r.t.Fatalf("byte %d of %d written is %d", i, j.n, b)
			}
		}
		if j.moved != j.n {
			g.r.t.Fatalf("%d bytes written of %d", j.moved, j.n)
		}
		j.p.good(j.itt)
		return true
	case len(j.left) > 0:
		at, n := j.next(!params.DataPDUInOrder, g.rnd)
		b := make([]byte, n)
		for i := range b {
			b[i] = byte((at + i) * 3)
		}
		last := len(j.left) == 0 && g.rnd.IntN(2) == 0
		j.p.dataIn(j.itt, j.sn, at, b, last)
		j.sn++
		return last
	}
	j.p.good(j.itt)
	return true
}

package sim

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"braid/internal/loop"
)

// pipe is a Stream that sends what it is given and keeps what it gets.
type pipe struct {
	out, in   []byte
	buf       [700]byte
	connected bool
	closed    error
}

func (p *pipe) Connected(time.Duration)           { p.connected = true }
func (p *pipe) RecvBuffers(dst [][]byte) [][]byte { return append(dst, p.buf[:500], p.buf[500:]) }
func (p *pipe) Received(_ time.Duration, n int)   { p.in = append(p.in, p.buf[:n]...) }
func (p *pipe) Sent(_ time.Duration, n int)       { p.out = p.out[n:] }
func (p *pipe) Closed(_ time.Duration, err error) { p.closed = err }
func (p *pipe) SendBuffers(dst [][]byte) [][]byte {
	if len(p.out) > 0 {
		dst = append(dst, p.out[:len(p.out)/2], p.out[len(p.out)/2:])
	}
	return dst
}

type bench struct {
	agenda agenda
	wire   *wire
	near   pipe
	far    pipe
	sock   *sock
	rsock  *sock
}

// newBench dials from one host to another.
func newBench(seed uint64, data []byte) *bench {
	b := &bench{}
	rng := rand.New(rand.NewPCG(seed, 0))
	idle := func(time.Duration) time.Duration { return never }
	near, far := newHost(&b.agenda, rng, "near"), newHost(&b.agenda, rng, "far")
	near.step, far.step = idle, idle
	b.wire = &wire{
		a: &b.agenda, rng: rng, near: near, far: far, base: time.Millisecond, jitter: time.Millisecond,
		sndCap: 3000, rcvCap: 1000, patience: 10 * time.Second,
		accept: func(s *sock) loop.Stream { b.rsock = s; return &b.far },
	}
	b.near.out, b.far.out = bytes.Clone(data), bytes.Clone(data)
	b.sock = b.wire.dial(&b.near)
	return b
}

func (b *bench) run(until time.Duration) {
	for b.agenda.step(until) {
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func TestWireCarries(t *testing.T) {
	data := pattern(50_000)
	for seed := range uint64(20) {
		b := newBench(seed, data)
		b.agenda.at(7*time.Millisecond, call(func() { b.wire.setDark(way(seed%2), true) }))
		b.agenda.at(3*time.Second, call(func() { b.wire.setDark(way(seed%2), false) }))
		b.run(2 * time.Second)
		if len(b.near.in) == len(data) && len(b.far.in) == len(data) {
			t.Error("darkness let everything through")
		}
		b.run(time.Minute)
		if !b.near.connected || !bytes.Equal(b.near.in, data) || !bytes.Equal(b.far.in, data) {
			t.Fatalf("seed %d: %d and %d bytes came", seed, len(b.near.in), len(b.far.in))
		}
		if b.sock.Unacked() != 0 || b.rsock.Unacked() != 0 {
			t.Errorf("unacknowledged: %d, %d", b.sock.Unacked(), b.rsock.Unacked())
		}
	}
}

func TestWireEnds(t *testing.T) {
	data := pattern(20_000)
	for seed := range uint64(20) {
		b := newBench(seed, data)
		b.run(5 * time.Millisecond)
		b.sock.Close(true)
		b.run(time.Minute)
		if !errors.Is(b.far.closed, errReset) || b.near.closed != nil {
			t.Errorf("reset: %v and %v", b.near.closed, b.far.closed)
		}
		if !bytes.HasPrefix(data, b.far.in) {
			t.Error("what came before the reset is not what was sent")
		}

		b = newBench(seed, data)
		b.run(5 * time.Millisecond)
		b.sock.Close(false)
		b.sock.h.soon()
		b.run(time.Minute)
		if b.far.closed != io.EOF || !bytes.Equal(b.far.in, data) {
			t.Errorf("orderly end: %v after %d bytes", b.far.closed, len(b.far.in))
		}

		b = newBench(seed, nil)
		b.run(time.Second)
		b.rsock.vanish()
		b.near.out = pattern(10)
		b.sock.Kick()
		b.sock.h.soon()
		b.run(time.Minute)
		if !errors.Is(b.near.closed, errReset) {
			t.Errorf("a peer that went away silently: %v", b.near.closed)
		}
	}
}

func TestWireRefuses(t *testing.T) {
	b := newBench(1, nil)
	b.wire.cut = true
	b.run(time.Minute)
	if !errors.Is(b.near.closed, errRefused) || b.agenda.now < time.Millisecond {
		t.Errorf("cut: %v", b.near.closed)
	}
	b = newBench(1, nil)
	b.wire.setDark(inward, true)
	b.run(9 * time.Second)
	if b.near.closed != nil || b.near.connected {
		t.Error("a dial into the dark ended early")
	}
	b.run(time.Minute)
	if !errors.Is(b.near.closed, errTimeout) {
		t.Errorf("dark: %v", b.near.closed)
	}
	b = newBench(1, pattern(100))
	b.wire.setDark(inward, true)
	b.agenda.at(2*time.Second, call(func() { b.wire.setDark(inward, false) }))
	b.run(time.Minute)
	if !b.near.connected || len(b.far.in) != 100 {
		t.Error("a dial did not outlive darkness")
	}
}

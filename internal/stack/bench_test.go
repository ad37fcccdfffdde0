package stack

import (
	"testing"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// A batch is so many requests of one kind, answered before the next.
type batch struct {
	name    string
	command uint16
	bytes   int
	depth   int
	flush   bool // one at the end
}

// commandFlush is NBD_CMD_FLUSH.
const commandFlush = 3

var batches = []batch{
	{"read 4K, depth 1", protocol.TRANSMISSION_TYPE_REQUEST_READ, 4 << 10, 1, false},
	{"read 4K, depth 32", protocol.TRANSMISSION_TYPE_REQUEST_READ, 4 << 10, 32, false},
	{"write 4K, depth 32", protocol.TRANSMISSION_TYPE_REQUEST_WRITE, 4 << 10, 32, false},
	{"write 4K, depth 32, flush", protocol.TRANSMISSION_TYPE_REQUEST_WRITE, 4 << 10, 32, true},
	{"read 256K, depth 8", protocol.TRANSMISSION_TYPE_REQUEST_READ, 256 << 10, 8, false},
	{"write 256K, depth 8", protocol.TRANSMISSION_TYPE_REQUEST_WRITE, 256 << 10, 8, false},
}

// run takes one batch through the whole device.
func (r *rig) run(b *batch) {
	c := r.client
	c.done = 0
	want := b.depth
	for i := range b.depth {
		c.ask(b.command, uint64(i*b.bytes%rigBytes), b.bytes)
	}
	for c.done < want {
		if !r.step() {
			r.now += 1000
		}
		if b.flush && c.done == b.depth && want == b.depth {
			want++
			c.ask(commandFlush, 0, 0)
		}
	}
}

var shapes = map[string]shape{
	"one session":  {sessions: 1, connections: 1},
	"two sessions": {sessions: 2, connections: 1, retain: 64 << 20},
	"MC/S":         {sessions: 1, connections: 2, retain: 64 << 20},
	"digests":      {sessions: 1, connections: 1, digests: true},
	"level 2":      {sessions: 1, connections: 1, level: 2},
}

// Nothing is allocated for a request, from the client's bytes to the target's and back.
func TestNoAllocation(t *testing.T) {
	for name, s := range shapes {
		for _, b := range batches {
			r := newRig(t, s)
			for range 50 {
				r.run(&b)
				r.run(&batch{command: commandFlush, depth: 1})
			}
			n := testing.AllocsPerRun(50, func() {
				r.run(&b)
				r.run(&batch{command: commandFlush, depth: 1})
			})
			if n != 0 {
				t.Errorf("%s, %s: %v allocations for a batch", name, b.name, n)
			}
		}
	}
}

// BenchmarkStack measures the engines alone, both braid's and the target's: no socket, no
// system call. What is told is the time of one request.
func BenchmarkStack(b *testing.B) {
	for _, name := range []string{"one session", "two sessions", "MC/S", "digests", "level 2"} {
		for _, k := range batches {
			b.Run(name+"/"+k.name, func(b *testing.B) {
				r := newRig(b, shapes[name])
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i += k.depth {
					r.run(&k)
				}
			})
		}
	}
}

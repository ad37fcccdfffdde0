package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"braid/nbd"
)

const (
	demoBlock   = 4096 // unit of the load; each block carries its own check
	demoLongest = 16   // blocks of one request
)

// A demoLoad writes and reads back, and knows what every block must hold. Each
// worker has a client connection and a part of the disk of its own, so that it
// needs to ask nobody what was written last.
type demoLoad struct {
	workers []*demoWorker
	flushes atomic.Bool // workers flush now and then

	reads, writes, synced   atomic.Uint64
	readBytes, writtenBytes atomic.Uint64
	verified                atomic.Uint64 // blocks that were compared
	longest                 atomic.Int64  // ns that a request has taken at most

	stop  context.CancelFunc
	ended sync.WaitGroup
	fail  chan error
}

type demoWorker struct {
	load       *demoLoad
	client     *nbdClient
	random     *rand.Rand
	first      uint64   // block
	generation []uint32 // of each block: how often it was written
	buffer     []byte
}

// newDemoLoad connects the workers to the device at path; they share a working
// area of the given number of blocks.
func newDemoLoad(path string, workers, blocks int) (*demoLoad, error) {
	l := &demoLoad{fail: make(chan error, workers)}
	each := blocks / workers
	for i := range workers {
		client, err := dialNBD(path)
		if err != nil {
			l.close()
			return nil, err
		}
		if client.size < uint64(blocks)*demoBlock {
			l.close()
			return nil, fmt.Errorf("the device has %d bytes only", client.size)
		}
		l.workers = append(l.workers, &demoWorker{
			load: l, client: client, random: rand.New(rand.NewPCG(uint64(i), 1)),
			first: uint64(i * each), generation: make([]uint32, each),
			buffer: make([]byte, demoLongest*demoBlock),
		})
	}
	l.flushes.Store(true)
	return l, nil
}

// run starts the workers. A mistake, or an error of the device, comes on fail.
func (l *demoLoad) run(ctx context.Context) {
	ctx, l.stop = context.WithCancel(ctx)
	for _, w := range l.workers {
		l.ended.Go(func() {
			for ctx.Err() == nil {
				if err := w.step(); err != nil {
					l.fail <- err
					return
				}
			}
		})
	}
}

// halt ends the load after the requests that are out.
func (l *demoLoad) halt() {
	l.stop()
	l.ended.Wait()
}

func (l *demoLoad) close() {
	for _, w := range l.workers {
		w.client.close()
	}
}

// step does one request.
func (w *demoWorker) step() error {
	n := 1 + w.random.IntN(demoLongest)
	at := w.random.IntN(len(w.generation) - n + 1)
	switch dice := w.random.IntN(100); {
	case dice < 2 && w.load.flushes.Load():
		return w.flush()
	case dice < 45:
		return w.write(at, n)
	}
	return w.check(at, n)
}

func (w *demoWorker) timed(op nbd.Op, at int, data []byte) error {
	begun := time.Now()
	err := w.client.do(op, (w.first+uint64(at))*demoBlock, data)
	took := int64(time.Since(begun))
	for {
		longest := w.load.longest.Load()
		if took <= longest || w.load.longest.CompareAndSwap(longest, took) {
			return err
		}
	}
}

func (w *demoWorker) flush() error {
	err := w.client.do(nbd.Flush, 0, nil)
	w.load.synced.Add(1)
	return err
}

func (w *demoWorker) write(at, n int) error {
	data := w.buffer[:n*demoBlock]
	for i := range n {
		w.generation[at+i]++
		fillBlock(data[i*demoBlock:][:demoBlock], w.first+uint64(at+i), w.generation[at+i])
	}
	if err := w.timed(nbd.Write, at, data); err != nil {
		return err
	}
	w.load.writes.Add(1)
	w.load.writtenBytes.Add(uint64(len(data)))
	return nil
}

// check reads blocks and compares each with what was written to it last.
func (w *demoWorker) check(at, n int) error {
	data := w.buffer[:n*demoBlock]
	if err := w.timed(nbd.Read, at, data); err != nil {
		return err
	}
	w.load.reads.Add(1)
	w.load.readBytes.Add(uint64(len(data)))
	for i := range n {
		block, generation := w.first+uint64(at+i), w.generation[at+i]
		if !blockHolds(data[i*demoBlock:][:demoBlock], block, generation) {
			return fmt.Errorf("block %d does not hold what was written to it last "+
				"(write %d of it)", block, generation)
		}
		w.load.verified.Add(1)
	}
	return nil
}

// verifyAll reads the whole working area back.
func (l *demoLoad) verifyAll() (blocks int, err error) {
	for _, w := range l.workers {
		for at := 0; at < len(w.generation); at += demoLongest {
			n := min(demoLongest, len(w.generation)-at)
			if err := w.check(at, n); err != nil {
				return blocks, err
			}
			blocks += n
		}
	}
	return blocks, nil
}

// fillBlock makes the content of a block: no two blocks, and no two writes of
// one, have a word in common. Generation 0 is what was never written: zeroes.
func fillBlock(b []byte, block uint64, generation uint32) {
	if generation == 0 {
		clear(b)
		return
	}
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], blockWord(block, generation, i))
	}
}

func blockHolds(b []byte, block uint64, generation uint32) bool {
	for i := 0; i < len(b); i += 8 {
		want := uint64(0)
		if generation > 0 {
			want = blockWord(block, generation, i)
		}
		if binary.LittleEndian.Uint64(b[i:]) != want {
			return false
		}
	}
	return true
}

// blockWord mixes the three with the finalizer of splitmix64, a bijection.
func blockWord(block uint64, generation uint32, i int) uint64 {
	x := block<<40 ^ uint64(generation)<<9 ^ uint64(i/8) + 1<<63
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

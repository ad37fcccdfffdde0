package main

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// liar is a disk behind NBD that forgets every so many writes.
type liar struct {
	mu     sync.Mutex
	data   []byte // guarded by mu
	every  int    // 0: it is honest
	writes int    // guarded by mu
}

func (l *liar) serve(t *testing.T, path string) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go l.client(conn)
		}
	}()
}

func (l *liar) client(conn net.Conn) {
	defer conn.Close()
	option := make([]byte, 4+16+6)
	conn.Write([]byte("NBDMAGICIHAVEOPT\x00\x03"))
	if _, err := io.ReadFull(conn, option); err != nil {
		return
	}
	reply := func(kind uint32, data []byte) {
		b := binary.BigEndian.AppendUint64(nil, nbdOptReply)
		b = binary.BigEndian.AppendUint32(b, nbdOptGo)
		b = binary.BigEndian.AppendUint32(b, kind)
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		conn.Write(append(b, data...))
	}
	info := binary.BigEndian.AppendUint64([]byte{0, 0}, uint64(len(l.data)))
	reply(nbdRepInfo, append(info, 0, 1))
	reply(nbdRepAck, nil)
	for {
		head := make([]byte, 28)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		offset, n := binary.BigEndian.Uint64(head[16:]), binary.BigEndian.Uint32(head[24:])
		answer := binary.BigEndian.AppendUint32(nil, nbdSimpleReply)
		answer = append(answer, 0, 0, 0, 0)
		answer = append(answer, head[8:16]...)
		switch binary.BigEndian.Uint16(head[6:]) {
		case 0:
			l.mu.Lock()
			answer = append(answer, l.data[offset:][:n]...)
			l.mu.Unlock()
		case 1:
			data := make([]byte, n)
			if _, err := io.ReadFull(conn, data); err != nil {
				return
			}
			l.mu.Lock()
			if l.writes++; l.every == 0 || l.writes%l.every > 0 {
				copy(l.data[offset:], data)
			}
			l.mu.Unlock()
		}
		conn.Write(answer)
	}
}

// TestDemoLoad wants the load to find a disk that forgets, and to be content
// with one that does not: a demonstration that cannot fail shows nothing.
func TestDemoLoad(t *testing.T) {
	for _, tt := range []struct {
		every int
		want  string
	}{{0, ""}, {50, "does not hold what was written to it last"}} {
		path := filepath.Join(t.TempDir(), "s")
		(&liar{data: make([]byte, 256*demoBlock), every: tt.every}).serve(t, path)
		load, err := newDemoLoad(path, 2, 256)
		if err != nil {
			t.Fatal(err)
		}
		for range 400 {
			for _, w := range load.workers {
				if err == nil {
					err = w.step()
				}
			}
		}
		if err == nil {
			_, err = load.verifyAll()
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("a disk that forgets one write of %d: %v", tt.every, err)
		}
		if tt.every == 0 && load.verified.Load() < 1000 {
			t.Errorf("only %d blocks compared", load.verified.Load())
		}
		load.close()
	}
}

func TestBlocks(t *testing.T) {
	b := make([]byte, demoBlock)
	for _, g := range []uint32{0, 1, 2, 1 << 31} {
		fillBlock(b, 7, g)
		if !blockHolds(b, 7, g) {
			t.Errorf("generation %d is not itself", g)
		}
		if blockHolds(b, 7, g+1) || g > 0 && blockHolds(b, 8, g) {
			t.Errorf("generation %d is taken for another", g)
		}
		b[rand.IntN(len(b))] ^= 1
		if blockHolds(b, 7, g) {
			t.Errorf("a changed bit of generation %d is not seen", g)
		}
	}
}

func TestWords(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %s", n, got)
		}
	}
	for n, want := range map[uint64]string{0: "0", 512: "512", 1024: "1K", 1536: "1.5K",
		10 << 30: "10G", 3 << 40: "3T"} {
		if got := bytesShort(n); got != want {
			t.Errorf("bytesShort(%d) = %s, want %s", n, got, want)
		}
	}
}

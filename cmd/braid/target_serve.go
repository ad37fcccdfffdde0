package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"braid/internal/loop"
	"braid/iscsi/target"
)

// A targetServer is the loop's Driver of an embedded target.
type targetServer struct {
	loop    *loop.Loop
	target  *target.Target
	sockets map[*target.Conn]loop.Socket
}

func (t *targetServer) acceptor(portal int) loop.Acceptor {
	return func(now time.Duration, sock loop.Socket) loop.Stream {
		c := t.target.Accept(now, portal)
		if c == nil {
			sock.Close(true)
			return nil
		}
		if t.sockets == nil {
			t.sockets = make(map[*target.Conn]loop.Socket)
		}
		t.sockets[c] = sock
		return c
	}
}

// Step is the loop's.
func (t *targetServer) Step(now time.Duration) time.Duration {
	t.target.Tick(now)
	live := t.target.Conns()
	for i := 0; i < len(live); i++ {
		c := live[i]
		switch want := c.Want(); {
		case want != target.WantNothing:
			t.sockets[c].Close(want == target.WantReset)
			delete(t.sockets, c)
			c.Released()
			live = t.target.Conns()
			i = -1 // the list is another one
		case c.HasOutput(), c.Resumed():
			t.sockets[c].Kick()
		}
	}
	if len(t.sockets) > len(live) {
		t.forget(live)
	}
	return t.target.Deadline()
}

// forget drops the sockets of connections that their peers have ended.
func (t *targetServer) forget(live []*target.Conn) {
	kept := make(map[*target.Conn]loop.Socket, len(live))
	for _, c := range live {
		kept[c] = t.sockets[c]
	}
	t.sockets = kept
}

// takeFaults does the faults that come in line by line, until the input ends;
// then the target ends too, so that it does not outlive who started it.
func (t *targetServer) takeFaults(in io.Reader, out io.Writer) {
	defer t.loop.Stop()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		script, err := target.ParseScript("at 0s " + line)
		if err != nil {
			fmt.Fprintf(out, "error %s\n", strings.TrimPrefix(err.Error(), "line 1: "))
			continue
		}
		done := make(chan struct{})
		posted := t.loop.Post(func(now time.Duration) {
			t.target.PlayAlso(now, script)
			t.target.Tick(now)
			close(done)
		})
		if !posted {
			return
		}
		select {
		case <-done:
			fmt.Fprintln(out, "ok")
		case <-t.loop.Done():
			return
		}
	}
}

package main

import (
	"errors"
	"fmt"
	"time"

	"braid/internal/loop"
	"braid/iscsi"
	"braid/iscsi/scsi"
)

// A talk is one session on a loop of its own, for commands that ask a target a
// few things: each question is asked from an ordinary goroutine and waited for.
type talk struct {
	loop    *loop.Loop
	session *iscsi.Session // the loop's
	sockets map[*iscsi.Conn]loop.Socket

	up    chan struct{} // closed when the session is up
	isUp  bool
	asked chan []iscsi.TargetRecord
	end   error // of the session, once the loop has ended
}

const (
	talkTimeout = 15 * time.Second // of one command
	talkTries   = 20               // of one command that a unit attention met
)

// newTalk logs in. The error says why that failed.
func newTalk(cfg iscsi.Config) (*talk, error) {
	l, err := loop.New(loop.Config{DialTimeout: cfg.LoginTimeout})
	if err != nil {
		return nil, err
	}
	t := &talk{
		loop:    l,
		session: iscsi.New(l.Now(), cfg),
		sockets: make(map[*iscsi.Conn]loop.Socket),
		up:      make(chan struct{}),
		asked:   make(chan []iscsi.TargetRecord, 1),
	}
	go func() {
		if err := l.Run(t); err != nil {
			panic(fmt.Sprintf("braid: epoll: %v", err))
		}
	}()
	select {
	case <-t.up:
		return t, nil
	case <-l.Done():
		return nil, t.end
	}
}

// Step is the loop's: it does what the session's connections want, and wakes
// who waits for an answer.
func (t *talk) Step(now time.Duration) time.Duration {
	for _, c := range t.session.Conns() {
		if s := t.sockets[c]; s != nil && c.Suspect() {
			c.Progress(now, s.Unacked())
		}
	}
	t.session.Tick(now)
	for _, c := range t.session.Conns() {
		t.serve(c)
	}
	for c := t.session.Completed(); c != nil; c = t.session.Completed() {
		close(c.Owner.(chan struct{}))
	}
	if t.session.Up() && !t.isUp {
		t.isUp = true
		close(t.up)
	}
	if list, done := t.session.Targets(); done {
		select {
		case t.asked <- list:
		default: // told before
		}
	}
	if err := t.session.Err(); err != nil && len(t.session.Conns()) == 0 {
		t.end = err
		t.loop.Stop()
	}
	return t.session.Deadline()
}

func (t *talk) serve(c *iscsi.Conn) {
	switch want := c.Want(); want {
	case iscsi.WantDial:
		t.sockets[c] = t.loop.Dial(c.Address(), c)
		c.Dialled()
	case iscsi.WantClose, iscsi.WantReset:
		t.sockets[c].Close(want == iscsi.WantReset)
		delete(t.sockets, c)
		c.Released()
	default:
		if s := t.sockets[c]; s != nil && c.HasOutput() {
			s.Kick()
		}
	}
}

// do has the loop's thread do f, unless the session has ended.
func (t *talk) do(f func(now time.Duration)) error {
	if !t.loop.Post(f) {
		return t.end
	}
	return nil
}

// read sends one command that reads at most n bytes, again while the target is
// only drawing attention to something or is busy.
func (t *talk) read(cdb [16]byte, n int) ([]byte, error) {
	for try := 1; ; try++ {
		data, err := t.readOnce(cdb, n)
		if err == nil || try == talkTries || !passes(err) {
			return data, err
		}
		if wait := busyPause(err); wait > 0 {
			time.Sleep(wait)
		}
	}
}

func (t *talk) readOnce(cdb [16]byte, n int) ([]byte, error) {
	done := make(chan struct{})
	c := &scsi.Command{CDB: cdb, Timeout: talkTimeout, Owner: done}
	if n > 0 {
		c.Dir, c.Data = scsi.Read, make([]byte, n)
	}
	if err := t.do(func(now time.Duration) { t.session.Submit(now, c) }); err != nil {
		return nil, err
	}
	select {
	case <-done:
		if c.Err != nil {
			return nil, fmt.Errorf("%s: %w", scsi.CommandName(&cdb), c.Err)
		}
		return c.Data[:c.Transferred], nil
	case <-t.loop.Done():
		return nil, t.end
	}
}

// passes says whether the same command may succeed a little later.
func passes(err error) bool {
	var s *scsi.StatusError
	if !errors.As(err, &s) {
		return false
	}
	switch s.Status {
	case scsi.Busy, scsi.TaskSetFull:
		return true
	case scsi.CheckCondition:
		return s.Sense.Key == scsi.UnitAttention ||
			s.Sense.Key == scsi.NotReady && s.Sense.ASC == 0x04 && s.Sense.ASCQ == 0x01
	}
	return false
}

func busyPause(err error) time.Duration {
	var s *scsi.StatusError
	if errors.As(err, &s) && s.Sense.Key == scsi.UnitAttention {
		return 0
	}
	return 500 * time.Millisecond
}

// targets asks which targets there are.
func (t *talk) targets() ([]iscsi.TargetRecord, error) {
	if err := t.do(func(now time.Duration) { t.session.SendTargets(now, "All") }); err != nil {
		return nil, err
	}
	select {
	case list := <-t.asked:
		return list, nil
	case <-t.loop.Done():
		return nil, t.end
	}
}

// leave logs out and ends the loop.
func (t *talk) leave() {
	// An error here means that the session has ended by itself.
	_ = t.do(func(now time.Duration) { t.session.Logout(now) })
	<-t.loop.Done()
}

package iscsi

import (
	"errors"
	"strings"
	"testing"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

const second = time.Second

func pinging(c *Config, _ *login.TargetConfig) {
	c.NopInterval, c.NopTimeout = 5*second, 4*second
}

func (p *peer) nopIn(itt, ttt uint32) {
	n := pdu.NopIn{ITT: itt, TTT: ttt, StatSN: p.statSN}
	if itt != pdu.ReservedTag {
		p.statSN++
	}
	n.ExpCmdSN, n.MaxCmdSN = p.window()
	p.send(n, nil)
}

// An idle connection is asked for life; an answer is enough, and so are bytes.
func TestPing(t *testing.T) {
	r := newUp(t, 1, pinging)
	p := r.peers[0]
	r.sleep(5*second - 1)
	p.expect(``)
	r.sleep(1)
	p.expect(`NOP-Out I F tag=1 ttt=ffffffff cmdsn=1`)
	if !p.c.Suspect() {
		t.Error("not suspect while the answer is out")
	}
	r.sleep(3 * second)
	p.nopIn(1, pdu.ReservedTag)
	if p.c.Suspect() {
		t.Error("still suspect after the answer")
	}
	r.sleep(5 * second)
	p.expect(`NOP-Out I F tag=2 ttt=ffffffff cmdsn=1`)
	r.sleep(3 * second)
	p.feed(make([]byte, 20)) // the beginning of a PDU
	r.sleep(4*second - 1)
	r.alive()
	r.sleep(1)
	r.dead("no answer to NOP-Out within 4s")
}

// A blackholed connection is noticed after NopInterval + NopTimeout, data that is
// stuck notwithstanding.
func TestBlackhole(t *testing.T) {
	r := newUp(t, 1, pinging)
	r.sleep(2 * second)
	cmd := r.submit(scsi.Write, 1<<20)
	r.peers[0].pull(1000)
	r.sleep(7*second - 1)
	r.alive()
	r.sleep(1)
	r.dead("no answer to NOP-Out")
	r.ended(cmd)
}

// Bytes acknowledged by the peer's TCP are life, those only sent are not.
func TestProgressIsLife(t *testing.T) {
	r := newUp(t, 1, func(c *Config, tc *login.TargetConfig) {
		pinging(c, tc)
		limits(false, true, 256<<10, 1<<20, 1<<20, 1)(c, tc)
	})
	p := r.peers[0]
	r.s.Submit(r.now, &scsi.Command{Dir: scsi.Write, Data: make([]byte, 1<<20)})
	r.sleep(5 * second)
	unacked := p.pull(400 << 10)
	// As the stack does it: progress is told before each Tick.
	step := func(d time.Duration) {
		for end := r.now + d; r.now < end; {
			if p.c.Suspect() {
				p.c.Progress(r.now, unacked)
			}
			if r.s.Deadline() <= r.now {
				r.s.Tick(r.now)
			}
			r.now = min(end, max(r.now+1, r.s.Deadline()))
		}
	}
	for range 20 {
		unacked -= 1000
		step(2 * second)
		r.alive()
	}
	// Sending goes on, but nothing is acknowledged any more.
	last := r.now
	for r.s.Err() == nil && r.now < last+20*second {
		unacked += p.pull(1000)
		step(second)
	}
	r.dead("no answer to NOP-Out")
	if d := r.now - last; d > 6*second {
		t.Errorf("noticed after %v only", d)
	}
}

// What was acknowledged between two looks counts from the earlier one, so that the
// end is not put off beyond NopTimeout.
func TestProgressIsNotLaterThanLife(t *testing.T) {
	r := newUp(t, 1, pinging)
	p := r.peers[0]
	r.sleep(5 * second)
	n := p.pull(1000)
	p.c.Progress(r.now, n)
	r.sleep(second)
	p.c.Progress(r.now, n)
	r.sleep(second)
	p.c.Progress(r.now, 0) // at some time in the last second
	r.sleep(3*second - 1)
	r.alive()
	r.sleep(1)
	r.dead("no answer to NOP-Out")
}

// The owner may ask for life at once; one NOP-Out is out at a time.
func TestProbe(t *testing.T) {
	r := newUp(t, 2, nil)
	r.s.Probe(r.now)
	r.s.Probe(r.now)
	r.peers[0].expect(`NOP-Out I F tag=2 ttt=ffffffff cmdsn=1`)
	r.peers[1].expect(`NOP-Out I F tag=3 ttt=ffffffff cmdsn=1`)
	r.peers[1].nopIn(2, pdu.ReservedTag)
	r.dead("no NOP-Out has this tag")
}

// The target's ping is answered with its tag, ahead of bulk data.
func TestPong(t *testing.T) {
	r := newUp(t, 1, limits(true, false, 256<<10, 1<<20, 1<<20, 1))
	p := r.peers[0]
	r.submit(scsi.Write, 1<<20)
	p.take()
	p.r2t(1, 0, 0, 1<<20, 0xa0)
	p.pull(1000)
	p.nopIn(pdu.ReservedTag, 0x77)
	got := p.take()
	if h := &got[1].h; h.Opcode() != pdu.OpNopOut {
		t.Errorf("the answer came late:\n%s", script(got))
	}
	p.expect(``)
	for range maxPongs {
		p.nopIn(pdu.ReservedTag, 0x78)
	}
	if n := len(p.take()); n != maxPongs {
		t.Errorf("%d answers", n)
	}
	for range maxPongs + 1 {
		p.nopIn(pdu.ReservedTag, 0x79)
	}
	r.dead("pings at once")
}

// A target that pings and does not read fills no memory.
func TestPongsWaitForRoom(t *testing.T) {
	r := newRig(t, 1, nil)
	r.room = 1000
	p := r.accept()[0]
	p.logIn()
	for range maxSenderPDUs {
		r.submit(scsi.Read, 512)
	}
	for range maxPongs {
		p.c.SendBuffers(nil)
		p.nopIn(pdu.ReservedTag, 0x77)
	}
	p.c.SendBuffers(nil)
	r.alive()
	p.nopIn(pdu.ReservedTag, 0x77)
	r.dead("pings at once")
}

func (p *peer) async(a pdu.Async, data []byte) {
	a.StatSN = p.sn()
	a.ExpCmdSN, a.MaxCmdSN = p.window()
	a.DataLen = len(data)
	p.send(a, data)
}

func TestAsync(t *testing.T) {
	r := newUp(t, 2, nil)
	p := r.peers[1]
	sense := scsi.Sense{Key: scsi.UnitAttention, ASC: 0x2a, ASCQ: 9}
	here := scsi.EncodeLUN(5)
	p.async(pdu.Async{Event: pdu.AsyncSCSIEvent, LUN: here},
		pdu.AppendSense(nil, sense.Append(nil, false)))
	p.async(pdu.Async{Event: pdu.AsyncSCSIEvent}, []byte{9})
	p.async(pdu.Async{Event: pdu.AsyncNegotiate, Param3: 3}, nil)
	p.async(pdu.Async{Event: pdu.AsyncVendor, VendorCode: 9}, []byte("anything"))
	p.async(pdu.Async{Event: 77}, nil)
	p.async(pdu.Async{Event: pdu.AsyncDropConnection, Param1: 55, Param2: 2, Param3: 20}, nil)
	p.expect(`Text Request F tag=2 ttt=ffffffff cmdsn=1`) // in answer to the call for negotiation
	r.alive()
	if a, ok := r.s.Heard(); !ok || a != scsi.CapacityChanged {
		t.Errorf("heard %v", a)
	}
	if a, ok := r.s.Heard(); ok {
		t.Errorf("heard %v as well", a)
	}
	if len(r.logged) != 6 {
		t.Errorf("logged:\n%s", strings.Join(r.logged, "\n"))
	}
	p.async(pdu.Async{Event: pdu.AsyncTasksTerminated}, nil)
	p.expect(`NOP-Out I F tag=4 ttt=ffffffff cmdsn=2`)
	cmd := r.submit(scsi.Read, 512)
	p.async(pdu.Async{Event: pdu.AsyncDropConnection, Param1: 0, Param2: 3, Param3: 40}, nil)
	r.dead("target dropped a connection")
	r.ended(cmd)
	n := r.s.Nexus()
	if n.Time2Wait != 3*second || n.Time2Retain != 40*second {
		t.Errorf("%+v", n)
	}

	r = newUp(t, 1, nil)
	r.peers[0].async(pdu.Async{Event: pdu.AsyncDropSession, Param2: 5, Param3: 6}, nil)
	r.dead("target dropped all connections")
	if n := r.s.Nexus(); n.Time2Wait != 5*second || n.Time2Retain != 6*second {
		t.Errorf("%+v", n)
	}
}

// A target that asks for logout gets it when the commands that are out have
// ended; what is queued or comes later is not sent.
func TestAsyncLogout(t *testing.T) {
	r := newRig(t, 1, nil)
	r.room = 1
	p := r.accept()[0]
	p.logIn()
	out, queued := r.submit(scsi.Read, 512), r.submit(scsi.Read, 512)
	p.expect(`SCSI Command F tag=1 cmdsn=1 expected=512`)
	p.async(pdu.Async{Event: pdu.AsyncLogoutRequest, Param3: 3}, nil)
	if r.s.Up() {
		t.Error("still up")
	}
	after := r.submit(scsi.Read, 512)
	r.ended(after)
	p.expect(``)
	p.dataIn(1, 0, 0, make([]byte, 512), true)
	r.ended(out)
	p.expect(`Logout Request I F tag=3 reason=0 cmdsn=2`)
	p.logoutAnswer(3, pdu.LogoutSuccess)
	var asked *AsyncError
	if err := r.s.Err(); !errors.As(err, &asked) || asked.Event != pdu.AsyncLogoutRequest {
		t.Errorf("ended by %v", err)
	}
	r.ended(queued)
	for _, c := range []*scsi.Command{queued, after} {
		if lost, sent := scsi.Lost(c.Err); !lost || sent {
			t.Errorf("ended with %v", c.Err)
		}
	}
}

func (p *peer) reject(reason pdu.RejectReason, h *pdu.Header) {
	j := pdu.Reject{Reason: reason, StatSN: p.sn(), DataLen: len(h)}
	j.ExpCmdSN, j.MaxCmdSN = p.window()
	p.send(j, h[:])
}

func TestReject(t *testing.T) {
	r := newUp(t, 1, pinging)
	p := r.peers[0]
	r.sleep(5 * second)
	m := p.one()
	p.reject(pdu.RejectImmediateCommand, &m.h)
	r.alive()
	if p.c.Suspect() {
		t.Error("a rejected NOP-Out is no sign of life")
	}
	cmd := r.submit(scsi.Write, 512)
	m = p.one()
	p.reject(pdu.RejectProtocolError, &m.h)
	r.dead("target rejected SCSI Command: protocol error")
	r.ended(cmd)

	r = newUp(t, 1, nil)
	j := pdu.Reject{Reason: 4, StatSN: r.peers[0].sn(), DataLen: 3}
	r.peers[0].send(j, []byte("abc"))
	r.dead("no header")
}

func (p *peer) taskAnswer(itt uint32, response uint8) {
	a := pdu.TaskResponse{Response: response, ITT: itt, StatSN: p.sn()}
	a.ExpCmdSN, a.MaxCmdSN = p.window()
	p.send(a, nil)
}

// A command past its timeout is aborted, one at a time on each connection.
func TestAbort(t *testing.T) {
	r := newUp(t, 1, nil)
	p := r.peers[0]
	first, again := r.submit(scsi.Read, 512), r.submit(scsi.Write, 512)
	third := r.submit(scsi.Read, 512)
	p.take()
	r.sleep(30*second - 1)
	p.expect(``)
	r.sleep(1)
	p.expect(`Task Management Function Request I F tag=4 function=1 ref=1 refcmdsn=1 cmdsn=4`)
	p.taskAnswer(4, pdu.TaskFunctionComplete)
	r.ended(first)
	p.expect(`Task Management Function Request I F tag=5 function=1 ref=2 refcmdsn=2 cmdsn=4`)
	p.good(2) // crosses the request
	r.ended(again)
	p.taskAnswer(5, pdu.TaskDoesNotExist)
	p.expect(`Task Management Function Request I F tag=6 function=1 ref=3 refcmdsn=3 cmdsn=4`)
	p.taskAnswer(6, pdu.TaskDoesNotExist)
	r.sleep(10*second - 1)
	r.ended()
	r.sleep(1)
	r.ended(third)
	r.alive()
	for _, c := range []*scsi.Command{first, third} {
		if e, ok := c.Err.(*scsi.StatusError); !ok || e.Status != scsi.TaskAborted {
			t.Errorf("ended with %v", c.Err)
		}
	}
	if again.Err != nil {
		t.Errorf("the answer that came first was %v", again.Err)
	}
}

// A target that says "task does not exist" and then answers the task.
func TestAbortCrossed(t *testing.T) {
	r := newUp(t, 1, nil)
	p := r.peers[0]
	cmd := r.submit(scsi.Read, 512)
	p.take()
	r.sleep(30 * second)
	p.take()
	p.taskAnswer(2, pdu.TaskDoesNotExist)
	r.sleep(9 * second)
	p.dataIn(1, 0, 0, pattern(512), true)
	r.ended(cmd)
	r.sleep(10 * second)
	r.alive()
	if cmd.Err != nil || cmd.Transferred != 512 {
		t.Errorf("%v, %d bytes", cmd.Err, cmd.Transferred)
	}
}

func TestAbortFails(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(r *rig, p *peer)
		want string
	}{
		{"refused", func(_ *rig, p *peer) { p.taskAnswer(2, 255) }, "response 255"},
		{"not supported", func(_ *rig, p *peer) { p.taskAnswer(2, 5) }, "response 5"},
		{"no answer", func(r *rig, _ *peer) {
			r.sleep(10 * second)
		}, "no answer to a task management request within 10s"},
		{"wrong tag", func(_ *rig, p *peer) { p.taskAnswer(1, 0) }, "no task management request"},
		{"rejected", func(_ *rig, p *peer) {
			var h pdu.Header
			pdu.TaskRequest{ITT: 2}.Marshal(&h)
			p.reject(pdu.RejectImmediateCommand, &h)
		}, "target rejected Task Management"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUp(t, 1, nil)
			p := r.peers[0]
			cmd := r.submit(scsi.Write, 512)
			p.take()
			r.sleep(30 * second)
			p.take()
			r.ended()
			c.do(r, p)
			r.dead(c.want)
			r.ended(cmd)
			if lost, sent := scsi.Lost(cmd.Err); !lost || !sent {
				t.Errorf("ended with %v", cmd.Err)
			}
		})
	}
}

// What nobody has heard of just ends.
func TestTimeoutInQueue(t *testing.T) {
	r := newRig(t, 1, nil)
	r.room = 0
	p := r.accept()[0]
	p.logIn()
	a, b := r.submit(scsi.Write, 512), r.submit(scsi.Read, 512)
	r.sleep(30 * second)
	r.ended(a, b)
	if e, ok := a.Err.(*scsi.StatusError); !ok || e.Status != scsi.TaskAborted {
		t.Errorf("ended with %v", a.Err)
	}
	r.room = 5
	p.nopIn(pdu.ReservedTag, pdu.ReservedTag)
	p.expect(``)
	c := r.submit(scsi.Read, 512)
	p.dataIn(p.oneTag(), 0, 0, make([]byte, 512), true)
	r.ended(c)
	r.alive()
}

func (p *peer) logoutAnswer(itt uint32, response uint8) {
	a := pdu.LogoutResponse{Response: response, ITT: itt, StatSN: p.sn()}
	a.Time2Wait, a.Time2Retain = 1, 2
	a.ExpCmdSN, a.MaxCmdSN = p.window()
	p.send(a, nil)
}

// Logout waits for the commands that were submitted, then closes all connections.
func TestLogout(t *testing.T) {
	r := newUp(t, 2, nil)
	a, b := r.peers[0], r.peers[1]
	cmd := r.submit(scsi.Read, 512)
	a.take()
	r.s.Logout(r.now)
	r.s.Logout(r.now)
	if r.s.Up() || r.s.Err() != nil {
		t.Error("up, or dead too early")
	}
	a.expect(``)
	a.dataIn(2, 0, 0, make([]byte, 512), true)
	r.ended(cmd)
	a.expect(`Logout Request I F tag=3 reason=0 cmdsn=2`)
	b.expect(``)
	b.c.Closed(r.now, errors.New("reset")) // some targets are that quick
	r.s.Tick(r.now)
	if r.s.Err() != nil {
		t.Fatalf("dead of %v", r.s.Err())
	}
	a.logoutAnswer(3, pdu.LogoutSuccess)
	if !errors.Is(r.s.Err(), scsi.ErrLoggedOut) {
		t.Errorf("ended by %v", r.s.Err())
	}
	if a.c.Want() != WantClose {
		t.Errorf("wants %d", a.c.Want())
	}
	a.c.Closed(r.now, nil)
	if n := len(r.s.Conns()); n != 0 {
		t.Errorf("%d connections left", n)
	}
}

// A logout that is answered while a command is out is not an orderly one.
func TestLogoutWithDataQueued(t *testing.T) {
	r := newUp(t, 1, limits(true, false, 256<<10, 1<<20, 1<<20, 1))
	p := r.peers[0]
	cmd := r.submit(scsi.Write, 1<<20)
	p.take()
	p.r2t(1, 0, 0, 1<<20, 0xa0)
	p.pull(1000)
	r.s.Logout(r.now)
	r.sleep(5 * second)
	p.c.SendBuffers(nil)
	p.logoutAnswer(2, pdu.LogoutSuccess)
	r.ended(cmd)
	if lost, sent := scsi.Lost(cmd.Err); !lost || !sent {
		t.Errorf("ended with %v", cmd.Err)
	}
	r.dead("logout: commands were still unanswered")
	if errors.Is(r.s.Err(), scsi.ErrLoggedOut) {
		t.Error("counts as logged out")
	}
}

// A logout that is answered while the data of a command that was refused is still
// queued: its buffer is handed back, so that the connection cannot be closed in
// order.
func TestLogoutWithDataLent(t *testing.T) {
	r := newUp(t, 1, limits(true, false, 256<<10, 1<<20, 1<<20, 1))
	p := r.peers[0]
	cmd := r.submit(scsi.Write, 1<<20)
	p.take()
	p.r2t(1, 0, 0, 1<<20, 0xa0)
	p.pull(1000)
	exp, top := p.window()
	p.send(pdu.SCSIResponse{ITT: 1, Status: 2, StatSN: p.sn(), ExpCmdSN: exp, MaxCmdSN: top}, nil)
	r.ended()
	r.s.Logout(r.now)
	p.logoutAnswer(2, pdu.LogoutSuccess)
	r.ended(cmd)
	var refused *scsi.StatusError
	if !errors.As(cmd.Err, &refused) {
		t.Errorf("ended with %v", cmd.Err)
	}
	r.dead("logged out") // and reset
}

func TestLogoutFails(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(r *rig, p *peer)
		want string
	}{
		{"refused", func(_ *rig, p *peer) { p.logoutAnswer(2, 3) }, "response 3"},
		{"no answer", func(r *rig, _ *peer) {
			r.sleep(5 * second)
		}, "no answer to Logout within 5s"},
		{"closed", func(r *rig, p *peer) {
			p.c.Closed(r.now, nil)
		}, "logout: closed by the target"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUp(t, 1, nil)
			p := r.peers[0]
			cmd := r.submit(scsi.Read, 512)
			p.take()
			r.s.Logout(r.now)
			r.sleep(5*second - 1)
			p.expect(``)
			r.sleep(1) // the command has had its time
			p.expect(`Logout Request I F tag=2 reason=0 cmdsn=2`)
			c.do(r, p)
			r.dead(c.want)
			if errors.Is(r.s.Err(), scsi.ErrLoggedOut) {
				t.Error("counts as logged out")
			}
			r.ended(cmd)
		})
	}
	r := newRig(t, 1, nil)
	r.accept()
	r.s.Logout(r.now)
	r.dead("logged out")
}

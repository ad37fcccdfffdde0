package iscsi

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
)

// A TargetRecord is one target that SendTargets told of.
type TargetRecord struct {
	Name    string
	Portals []Portal
}

// A Portal is where a target can be reached.
type Portal struct {
	Address string // HOST:PORT
	TPGT    int    // target portal group tag; -1 if the target did not tell
}

// Bounds of what SendTargets may answer.
const (
	maxText    = 4 << 20 // bytes
	maxRounds  = 4096    // Text Responses
	maxTargets = 65536   // targets, and portals
)

// A textExchange is a SendTargets under way, RFC 7143 section 11.10 and appendix
// C: the answer may be spread over many responses, each asked for.
type textExchange struct {
	name     string
	on       *Conn // an empty request on that connection, in answer to the target's; else nil
	task     *task // nil: none is under way
	conn     *Conn
	due      bool   // a request is to be sent
	ttt      uint32 // that it names
	lun      [8]byte
	answer   []byte
	rounds   int
	deadline time.Duration

	targets []TargetRecord
	done    bool
}

func (x *textExchange) busy() bool { return x.task != nil || x.due }

// SendTargets asks which targets there are: "" or "All" for all of them, which
// only a discovery session may ask, else the one of that name. It may be called
// before the session is up. One question may be out at a time; the answer is told
// by Targets. It is bounded by LoginTimeout, after which the session is dead.
func (s *Session) SendTargets(now time.Duration, name string) {
	if s.text.busy() || s.state == sessionDead {
		return
	}
	if name == "" {
		name = "All"
	}
	s.text = textExchange{name: name, due: true, ttt: pdu.ReservedTag,
		deadline: now + s.cfg.LoginTimeout}
	s.advance(now)
}

// Targets returns what SendTargets was answered, and whether it was.
func (s *Session) Targets() (list []TargetRecord, done bool) {
	return s.text.targets, s.text.done
}

// negotiate answers a target that asks for negotiation: with a Text Request that
// proposes nothing, on the same connection, unless one is under way (RFC 7143 section
// 11.9.1, event 4).
func (s *Session) negotiate(now time.Duration, c *Conn) {
	if s.text.busy() || s.state != sessionUp || c.state != connUp {
		return
	}
	s.text = textExchange{on: c, due: true, ttt: pdu.ReservedTag,
		deadline: now + s.cfg.LoginTimeout}
	s.advance(now)
}

// pumpText sends the next Text Request once the command window allows.
func (s *Session) pumpText(now time.Duration) {
	x := &s.text
	if !x.due || !s.window.open() || s.leave.sent {
		return
	}
	var text []byte
	if x.task == nil {
		if x.conn = x.on; x.conn == nil {
			x.conn = s.leading
		}
		if x.task = s.tasks.get(kindText); x.task == nil {
			return
		}
		x.task.conn = x.conn
		x.deadline = now + s.cfg.LoginTimeout
		if x.on == nil {
			text = login.AppendPair(nil, "SendTargets", x.name)
		}
	}
	x.due = false
	var h pdu.Header
	pdu.TextRequest{
		Final:     true,
		LUN:       x.lun,
		ITT:       x.task.itt,
		TTT:       x.ttt,
		CmdSN:     s.window.take(),
		ExpStatSN: x.conn.expStatSN,
		DataLen:   len(text),
	}.Marshal(&h)
	x.conn.out.Push(&h, text, pdu.Urgent)
}

func (s *Session) textDue(now time.Duration) {
	if s.text.busy() && s.state != sessionOpening && now >= s.text.deadline {
		s.die(&TimeoutError{What: "answer to Text Request", After: s.cfg.LoginTimeout})
	}
}

func (s *Session) textDeadline() time.Duration {
	if s.text.busy() && s.state != sessionOpening {
		return s.text.deadline
	}
	return math.MaxInt64
}

func (c *Conn) textResponse(now time.Duration, h *pdu.Header, data []byte) error {
	r, err := pdu.ParseTextResponse(h)
	if err != nil {
		return err
	}
	s, x := c.s, &c.s.text
	if x.task == nil || x.conn != c || x.due || x.task.itt != r.ITT {
		return breach(h, "no Text Request has this tag")
	}
	if len(x.answer)+len(data) > maxText || x.rounds == maxRounds {
		return breach(h, "the answer to SendTargets is too long")
	}
	x.rounds++
	x.answer = append(x.answer, data...)
	if !r.Final {
		if r.TTT == pdu.ReservedTag {
			return breach(h, "neither final nor to be continued")
		}
		x.due, x.ttt, x.lun = true, r.TTT, r.LUN // RFC 7143 section 11.10.4
		s.pumpText(now)
		return nil
	}
	if x.on != nil { // what the target proposes is declined by silence
		s.tasks.put(x.task)
		*x = textExchange{}
		return nil
	}
	list, skipped, err := parseTargets(x.answer, c.address)
	if err != nil {
		return breach(h, "%v", err)
	}
	if skipped != nil {
		s.cfg.Log(slog.LevelWarn, "an address that SendTargets told is left out",
			"portal", c.address, "error", skipped)
	}
	s.tasks.put(x.task)
	*x = textExchange{targets: list, done: true}
	return nil
}

// parseTargets reads the answer to SendTargets. A target without an address is
// where it was asked for, RFC 7143 appendix C. Addresses that cannot be read are
// left out; skipped is why, of the last one.
func parseTargets(text []byte, asked string) (list []TargetRecord, skipped, err error) {
	pairs, err := login.ParseText(text)
	if err != nil {
		return nil, nil, err
	}
	if len(pairs) > maxTargets {
		return nil, nil, errors.New("too many targets")
	}
	for _, p := range pairs {
		switch p.Key {
		case "TargetName":
			if err := login.ValidName(p.Value); err != nil {
				return nil, nil, fmt.Errorf("target name: %w", err)
			}
			list = append(list, TargetRecord{Name: p.Value})
		case "TargetAddress":
			if len(list) == 0 {
				return nil, nil, errors.New("an address before any target")
			}
			address, tpgt, err := login.ParseTargetAddress(p.Value)
			if err != nil {
				skipped = err
				continue
			}
			t := &list[len(list)-1]
			t.Portals = append(t.Portals, Portal{address, tpgt})
		}
	}
	for i := range list {
		if len(list[i].Portals) == 0 {
			list[i].Portals = []Portal{{Address: asked, TPGT: -1}}
		}
	}
	return list, skipped, nil
}

package conformance

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Target is the target's side of one session, played by hand.
type Target struct {
	Judge *Judge
	TSIH  uint16
	Group string // TargetPortalGroupTag

	// Window is how many commands may be out. ExpCmdSN is what was received,
	// unless Held gives another.
	Window uint32
	Held   *uint32

	Links []*Link
	MRDSL int // what it declares
}

// NewTarget begins a session.
func NewTarget() *Target {
	return &Target{Judge: NewJudge(), TSIH: 7, Group: "3", Window: 32, MRDSL: 8192}
}

// A Link is the target's end of one connection.
type Link struct {
	T       *Target
	ID      int
	StatSN  uint32 // the next one
	Deliver func([]byte)
	Tap     *Stream // nil: not captured

	got []*PDU
}

// Open notes a new TCP connection. Deliver is where the target's bytes go.
func (t *Target) Open(deliver func([]byte), tap *Stream) *Link {
	l := &Link{T: t, ID: t.Judge.Open(), Deliver: deliver, Tap: tap}
	l.StatSN = 1000 * uint32(l.ID+1)
	t.Links = append(t.Links, l)
	return l
}

// Receive takes bytes of the initiator. They are captured PDU by PDU.
func (l *Link) Receive(b []byte) {
	list := l.T.Judge.FromInitiator(l.ID, b)
	if l.Tap != nil {
		for _, p := range list {
			l.Tap.FromInitiator(p.Wire)
		}
	}
	l.got = append(l.got, list...)
}

// Take gives what was received since the last time.
func (l *Link) Take() []*PDU {
	got := l.got
	l.got = nil
	return got
}

// Send sends a PDU as it is.
func (l *Link) Send(p *PDU) {
	w := l.T.Judge.wires[l.ID]
	l.SendBytes(p.Bytes(w.headerDigest && w.up, w.dataDigest && w.up))
}

// SendBytes sends bytes.
func (l *Link) SendBytes(b []byte) {
	if l.Tap != nil {
		l.Tap.FromTarget(b)
	}
	l.T.Judge.FromTarget(l.ID, b)
	l.Deliver(b)
}

// Numbered puts ExpCmdSN and MaxCmdSN into a PDU, and the StatSN, which it uses up
// if the PDU carries a status.
func (l *Link) Numbered(p *PDU) *PDU {
	exp := l.T.Judge.numbers.low
	if l.T.Held != nil {
		exp = *l.T.Held
	}
	p.Set(atStatSN, 4, uint64(l.StatSN))
	p.Set(atExpCmdSN, 4, uint64(exp)).Set(atMaxCmdSN, 4, uint64(exp+l.T.Window-1))
	if carriesStatus(p) {
		l.StatSN++
	} else if p.Op() == DataIn {
		p.Set(atStatSN, 4, 0)
	}
	return p
}

// Status makes a SCSI Response with sense data, if any.
func (l *Link) Status(itt uint32, status byte, sense []byte) *PDU {
	var data []byte
	if len(sense) > 0 {
		data = append([]byte{byte(len(sense) >> 8), byte(len(sense))}, sense...)
	}
	p := New(SCSIResp, 0x80, data).Set(atITT, 4, uint64(itt))
	p.H[3] = status
	return l.Numbered(p)
}

// Good answers a command with GOOD.
func (l *Link) Good(itt uint32) { l.Send(l.Status(itt, 0, nil)) }

// Flags of Data-In, RFC 7143 section 11.7.
const (
	FBit = 0x80
	ABit = 0x40
	SBit = 0x01
)

// Data makes a Data-In for a command. Its target transfer tag is reserved.
func (l *Link) Data(cmd *PDU, dataSN, offset uint32, flags byte, data []byte) *PDU {
	p := New(DataIn, flags, data).Set(atITT, 4, uint64(cmd.ITT())).Set(atTTT, 4, None)
	p.Set(atDataSN, 4, uint64(dataSN)).Set(atOffset, 4, uint64(offset))
	return l.Numbered(p)
}

// Ready makes an R2T for a command.
func (l *Link) Ready(cmd *PDU, sn, ttt uint32, offset, n int) *PDU {
	p := New(R2T, FBit, nil).Set(atLUN, 8, cmd.U64(atLUN)).Set(atITT, 4, uint64(cmd.ITT()))
	p.Set(atTTT, 4, uint64(ttt)).Set(atDataSN, 4, uint64(sn))
	return l.Numbered(p.Set(atOffset, 4, uint64(offset)).Set(atLength, 4, uint64(n)))
}

// Nop makes a NOP-In.
func (l *Link) Nop(itt, ttt uint32, lun uint64, data []byte) *PDU {
	p := New(NopIn, FBit, data).Set(atITT, 4, uint64(itt)).Set(atTTT, 4, uint64(ttt))
	return l.Numbered(p.Set(atLUN, 8, lun))
}

// Managed makes a Task Management Function Response.
func (l *Link) Managed(itt uint32, response byte) *PDU {
	p := New(TaskResp, FBit, nil).Set(atITT, 4, uint64(itt))
	p.H[2] = response
	return l.Numbered(p)
}

// Out makes a Logout Response.
func (l *Link) Out(itt uint32, response byte, wait, retain uint16) *PDU {
	p := New(LogoutResp, FBit, nil).Set(atITT, 4, uint64(itt))
	p.H[2] = response
	return l.Numbered(p.Set(40, 2, uint64(wait)).Set(42, 2, uint64(retain)))
}

// TextAnswer makes a Text Response.
func (l *Link) TextAnswer(itt uint32, flags byte, ttt uint32, text []byte) *PDU {
	p := New(TextResp, flags, text).Set(atITT, 4, uint64(itt)).Set(atTTT, 4, uint64(ttt))
	return l.Numbered(p)
}

// Refuse makes a Reject of a PDU, RFC 7143 section 11.17.
func (l *Link) Refuse(reason byte, of *PDU) *PDU {
	p := New(Reject, FBit, append([]byte(nil), of.H[:]...)).Set(atITT, 4, None)
	p.H[2] = reason
	return l.Numbered(p)
}

// Event makes an Asynchronous Message, RFC 7143 section 11.9.
func (l *Link) Event(event byte, p1, p2, p3 uint16) *PDU {
	p := New(Async, FBit, nil).Set(atITT, 4, None)
	l.Numbered(p)
	p.H[36] = event
	return p.Set(38, 2, uint64(p1)).Set(40, 2, uint64(p2)).Set(42, 2, uint64(p3))
}

// LoginAnswer makes a Login Response to a request, with the flags T and C and
// the next stage in flags; it stays in the request's stage.
func (l *Link) LoginAnswer(q *PDU, flags byte, text []byte) *PDU {
	p := New(LoginResp, flags|q.H[1]&0x0c, text)
	copy(p.H[8:20], q.H[8:20])
	if flags&0x83 == 0x83 {
		p.Set(14, 2, uint64(l.T.TSIH))
	}
	return l.Numbered(p)
}

// LoginRefused makes a Login Response with a status class and detail.
func (l *Link) LoginRefused(q *PDU, class, detail byte, keys ...string) *PDU {
	p := New(LoginResp, q.H[1]&0x0c, Text(keys...))
	copy(p.H[8:20], q.H[8:20])
	p.H[36], p.H[37] = class, detail
	return l.Numbered(p)
}

// A LoginPlan says how a target answers a login that it means to grant.
type LoginPlan struct {
	Answers map[string]string // to keys offered; others are agreed to
	Offers  []string          // key=value that it sends with its first operational answer
}

// GrantLogin answers a login to its end. next gives the requests that came since.
func (l *Link) GrantLogin(plan LoginPlan, next func() []*PDU) bool {
	first, declaredMRDSL := true, false
	for range 20 {
		for _, q := range next() {
			if q.Op() != LoginReq {
				return false
			}
			keys := plan.reply(q.Data)
			offers := plan.Offers
			if csg(q) == stageOperational {
				keys = append(keys, offers...)
				plan.Offers = nil
				if !declaredMRDSL && !slices.ContainsFunc(keys, isMRDSL) {
					keys = append(keys, "MaxRecvDataSegmentLength="+strconv.Itoa(l.T.MRDSL))
				}
				declaredMRDSL = true
			}
			if first {
				keys = append(keys, "TargetPortalGroupTag="+l.T.Group)
				first = false
			}
			var flags byte
			if q.Final() && (csg(q) == stageSecurity || len(offers) == 0) {
				flags = 0x80 | nsg(q)
			}
			l.Send(l.LoginAnswer(q, flags, Text(keys...)))
			if flags == 0x83 {
				return true
			}
		}
	}
	return false
}

func isMRDSL(k string) bool { return strings.HasPrefix(k, "MaxRecvDataSegmentLength=") }

// reply answers the keys of one text.
func (plan *LoginPlan) reply(text []byte) (keys []string) {
	list, _ := pairs(text)
	for _, k := range list {
		rule, known := keyRules[k.Key]
		if !known || rule.kind == declared || k.Key == "SessionType" || rule.kind == 0 {
			continue
		}
		v, own := plan.Answers[k.Key]
		if !own {
			v, _, _ = strings.Cut(k.Value, ",")
		}
		if v != "" {
			keys = append(keys, k.Key+"="+v)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(plan.Answers)) {
		if k == "MaxRecvDataSegmentLength" && strings.Contains(string(text), k) {
			keys = append(keys, k+"="+plan.Answers[k])
		}
	}
	return keys
}

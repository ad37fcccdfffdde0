package target

import (
	"slices"

	"braid/iscsi/pdu"
)

// PDUs says which PDUs of full feature phase a Disturbance is for.
type PDUs uint8

// Kinds of PDUs. What the target sends comes first, then what it receives.
const (
	DataInPDUs PDUs = iota // with status and without
	StatusPDUs             // SCSI Response, and Data-In with status
	R2TPDUs
	NopInPDUs
	ResponsePDUs // to task management, text and logout
	RejectPDUs
	AsyncPDUs
	CommandPDUs // SCSI commands
	DataOutPDUs
	NopOutPDUs
	SNACKPDUs
	RequestPDUs // task management, text and logout
)

// pduNames are their names in scripts.
var pduNames = [...]string{"data-in", "status", "r2t", "nop-in", "response", "reject", "async",
	"command", "data-out", "nop-out", "snack", "request"}

// maxDisturbances bounds how many are in force at a time.
const maxDisturbances = 32

// A Disturbance loses PDUs, or damages them. What is sent counts as sent: it has
// its numbers, and is kept for a SNACK.
type Disturbance struct {
	What    PDUs
	Portal  int // index; -1: any
	After   int // so many are spared first
	Count   int // that many are hit then; 0: all, as Percent says
	Percent int // how likely each is hit; 0: all
	// Digest damages a digest instead: of what is sent the digest of the header
	// or of the data; what is received counts as damaged in its data. A PDU
	// without that digest is lost.
	Digest Damage
}

// Damage says which digest of a PDU is damaged.
type Damage uint8

// Kinds of damage.
const (
	NoDamage Damage = iota // the PDU is lost as a whole
	DataDamage
	HeaderDamage
)

// Disturb puts a disturbance into force beside those that are. There is a bound
// to them; the oldest goes.
func (t *Target) Disturb(d Disturbance) {
	f := &t.faults
	if len(f.disturbances) == maxDisturbances {
		f.disturbances = f.disturbances[1:]
	}
	f.disturbances = append(f.disturbances, d)
}

// Undisturb ends all disturbances.
func (t *Target) Undisturb() { t.faults.disturbances = nil }

// undisturb ends the disturbances that are like one of a script, or all if it
// says nothing.
func (t *Target) undisturb(like *Disturbance) {
	all := *like == Disturbance{}
	f := &t.faults
	f.disturbances = slices.DeleteFunc(f.disturbances, func(d Disturbance) bool {
		return all || d.What == like.What && d.Portal == like.Portal && d.Digest == like.Digest
	})
}

// RefuseSNACKs answers the next n SNACKs, DataACK aside, with "SNACK reject".
func (t *Target) RefuseSNACKs(n int) { t.faults.snacks = n }

// RefuseReassigns answers the next n requests to reassign a task with "function
// rejected".
func (t *Target) RefuseReassigns(n int) { t.faults.reassigns = n }

// take takes one of what is left of a count.
func (f *faultState) take(n *int) bool {
	if *n == 0 {
		return false
	}
	*n--
	return true
}

// hits reports whether a PDU is one of those kinds, and the disturbance that
// strikes it, nil if none does.
func (t *Target) hits(portal int, kinds ...PDUs) *Disturbance {
	list := t.faults.disturbances
	var hit *Disturbance
	for i := range list {
		d := &list[i]
		if d.Portal >= 0 && d.Portal != portal || !slices.Contains(kinds, d.What) {
			continue
		}
		switch {
		case d.After > 0:
			d.After--
		case d.Count < 0: // used up
		case d.Percent > 0 && t.cfg.Rand.IntN(100) >= d.Percent:
		default:
			if d.Count > 0 {
				if d.Count--; d.Count == 0 {
					d.Count = -1
				}
			}
			if hit == nil {
				c := *d
				hit = &c
			}
		}
	}
	return hit
}

// disturbReceived is true if a PDU that came in is lost.
func (c *Conn) disturbReceived(p *pdu.PDU) bool {
	kind := RequestPDUs
	switch p.Header.Opcode() {
	case pdu.OpSCSICommand:
		kind = CommandPDUs
	case pdu.OpDataOut:
		kind = DataOutPDUs
	case pdu.OpNopOut:
		kind = NopOutPDUs
	case pdu.OpSNACK:
		kind = SNACKPDUs
	}
	d := c.t.hits(c.portal, kind)
	switch {
	case d == nil:
		return false
	case d.Digest == DataDamage && len(p.Data) > 0:
		p.DataDigestError = true
		return false
	}
	if kind == DataOutPDUs {
		c.unplaced(p.Header.ITT())
	}
	return true
}

// unplaced forgets that a lost Data-Out was put into the buffer of its task.
func (c *Conn) unplaced(itt uint32) {
	if k := c.session.tasks[itt]; k != nil {
		k.out.placing = false
	}
}

// transmit queues a PDU to be sent, as far as nothing disturbs it.
func (c *Conn) transmit(h *pdu.Header, data []byte) pdu.Ticket {
	if len(c.t.faults.disturbances) == 0 || c.state != stateFull {
		return c.send.Push(h, data, pdu.Bulk)
	}
	kinds := [2]PDUs{ResponsePDUs}
	n := 1
	switch h.Opcode() {
	case pdu.OpDataIn:
		kinds[0] = DataInPDUs
		if d, err := pdu.ParseDataIn(h); err == nil && d.HasStatus {
			kinds[1], n = StatusPDUs, 2
		}
	case pdu.OpSCSIResponse:
		kinds[0] = StatusPDUs
	case pdu.OpR2T:
		kinds[0] = R2TPDUs
	case pdu.OpNopIn:
		kinds[0] = NopInPDUs
	case pdu.OpReject:
		kinds[0] = RejectPDUs
	case pdu.OpAsync:
		kinds[0] = AsyncPDUs
	}
	d := c.t.hits(c.portal, kinds[:n]...)
	switch {
	case d == nil:
		return c.send.Push(h, data, pdu.Bulk)
	case d.Digest == HeaderDamage && c.params.HeaderDigest,
		d.Digest == DataDamage && c.params.DataDigest && len(data) > 0:
		ticket := c.send.Push(h, data, pdu.Bulk)
		c.send.Spoil(pdu.Bulk, d.Digest == HeaderDamage)
		return ticket
	}
	return pdu.Ticket{}
}

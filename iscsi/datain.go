package iscsi

import (
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// reading is the state of a command's Data-In.
type reading struct {
	received int     // bytes, each counted once
	sn       numbers // DataSN
	patchy   bool    // bytes may come in any order: seen tells which have
	seen     extents
	ack      dataACK

	// A GOOD status that came before all data: how many bytes it is for, and
	// its StatSN.
	held   bool
	moved  int
	status int

	// A Data-In with status came damaged, under this StatSN.
	damaged   bool
	damagedAt int
}

// A dataACK is what a Data-In with the A bit asks for.
type dataACK struct {
	due  bool
	ttt  uint32
	lun  [8]byte
	upTo int // DataSN after it
}

// overlay lets bytes come in any order from now on.
func (r *reading) overlay() {
	if !r.patchy {
		r.patchy = true
		r.seen.add(0, r.received)
	}
}

// Place tells the Receiver where a data segment belongs: that of Data-In, if it
// is in order, goes straight into the command's data.
func (c *Conn) Place(h *pdu.Header) []byte {
	if h.Opcode() != pdu.OpDataIn || !c.fullFeature() {
		return nil
	}
	d, err := pdu.ParseDataIn(h)
	if err != nil {
		return nil
	}
	t, err := c.readOf(h, &d)
	if t == nil || err != nil || !t.in.sn.fresh(t.in.sn.number(d.DataSN)) {
		return nil
	}
	return t.cmd.Data[d.Offset : int(d.Offset)+d.DataLen]
}

// readOf finds the command that a Data-In belongs to and checks that its bytes
// are within the command's data. Without an error it is nil for data that came
// twice, and whose command has ended since.
func (c *Conn) readOf(h *pdu.Header, d *pdu.DataIn) (*task, error) {
	t := c.s.tasks.findFor(d.ITT, kindCommand, c)
	switch {
	case t == nil || t.state != taskIssued:
		if c.repair.snacked {
			return nil, nil
		}
		return nil, breach(h, "no command has this tag")
	case t.cmd.Dir != scsi.Read:
		return nil, breach(h, "the command does not read")
	case uint64(d.Offset)+uint64(d.DataLen) > uint64(len(t.cmd.Data)):
		return nil, breach(h, "%d bytes at %d of a command that expects %d",
			d.DataLen, d.Offset, len(t.cmd.Data))
	}
	return t, nil
}

// dataIn takes a Data-In; fresh says that its status, if it has one, was not taken
// in before.
func (c *Conn) dataIn(h *pdu.Header, data []byte, fresh bool) error {
	d, err := pdu.ParseDataIn(h)
	if err != nil {
		return err
	}
	t, err := c.readOf(h, &d)
	if t == nil || err != nil {
		return err
	}
	t.touched = true
	if err := c.takeData(h, t, &d, data); err != nil {
		return err
	}
	if d.HasStatus && fresh {
		return c.ends(h, t, scsi.Status(d.Status), nil,
			residual{over: d.Overflow, under: d.Underflow, bytes: d.Residual})
	}
	if t.in.held && !t.in.sn.missing() && t.in.received >= t.in.moved {
		return c.endsRead(h, t, t.in.moved)
	}
	if t.in.sn.asked < t.in.sn.known && t.in.sn.missing() {
		return c.askData(t, t.in.sn.asked)
	}
	return nil
}

// takeData notes the numbers and the bytes of a Data-In. At error recovery level 0
// both come in order; above it there may be gaps, and PDUs that come twice.
func (c *Conn) takeData(h *pdu.Header, t *task, d *pdu.DataIn, data []byte) error {
	in := &t.in
	i := in.sn.number(d.DataSN)
	if i != in.sn.next {
		if c.s.level == 0 || i-in.sn.next > maxGap {
			return breach(h, "DataSN %d, %d was due", d.DataSN, uint32(in.sn.next))
		}
		if !in.sn.fresh(i) {
			return nil
		}
		in.overlay()
	}
	if i < in.sn.known {
		t.tries = 0
	}
	if !in.sn.arrive(i) {
		return breach(h, "too many gaps in DataSN")
	}
	from, to := int(d.Offset), int(d.Offset)+d.DataLen
	if in.patchy || !c.s.params.DataPDUInOrder || !c.s.params.DataSequenceInOrder {
		if !in.seen.add(from, to) {
			return breach(h, "data at %d to %d came twice, or leaves too many holes", from, to)
		}
	} else if from != in.received && d.DataLen > 0 {
		return breach(h, "data at %d, %d was due", from, in.received)
	}
	in.received += d.DataLen
	if d.DataLen > 0 && &data[0] != &t.cmd.Data[from] {
		copy(t.cmd.Data[from:to], data)
	}
	if d.Acknowledge && c.s.level > 0 && d.TTT != pdu.ReservedTag {
		in.ack = dataACK{due: true, ttt: d.TTT, lun: d.LUN, upTo: i + 1}
	}
	c.acknowledgeData(t)
	return nil
}

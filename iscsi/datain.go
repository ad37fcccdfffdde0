package iscsi

import (
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// reading is the state of a command's Data-In.
type reading struct {
	received int    // bytes, each counted once
	dataSN   uint32 // next expected
	seen     extents
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
	if err != nil {
		return nil
	}
	return t.cmd.Data[d.Offset : int(d.Offset)+d.DataLen]
}

// readOf finds the command that a Data-In belongs to and checks that its bytes
// are within the command's data.
func (c *Conn) readOf(h *pdu.Header, d *pdu.DataIn) (*task, error) {
	t := c.s.tasks.findFor(d.ITT, kindCommand, c)
	switch {
	case t == nil || t.state != taskIssued:
		return nil, breach(h, "no command has this tag")
	case t.cmd.Dir != scsi.Read:
		return nil, breach(h, "the command does not read")
	case uint64(d.Offset)+uint64(d.DataLen) > uint64(len(t.cmd.Data)):
		return nil, breach(h, "%d bytes at %d of a command that expects %d",
			d.DataLen, d.Offset, len(t.cmd.Data))
	}
	return t, nil
}

func (c *Conn) dataIn(h *pdu.Header, data []byte) error {
	d, err := pdu.ParseDataIn(h)
	if err != nil {
		return err
	}
	t, err := c.readOf(h, &d)
	if err != nil {
		return err
	}
	if d.DataSN != t.in.dataSN {
		return breach(h, "DataSN %d, %d was due", d.DataSN, t.in.dataSN)
	}
	t.in.dataSN++
	from, to := int(d.Offset), int(d.Offset)+d.DataLen
	if c.s.params.DataPDUInOrder && c.s.params.DataSequenceInOrder {
		if from != t.in.received && d.DataLen > 0 {
			return breach(h, "data at %d, %d was due", from, t.in.received)
		}
	} else if !t.in.seen.add(from, to) {
		return breach(h, "data at %d to %d came twice, or leaves too many holes", from, to)
	}
	t.in.received += d.DataLen
	if d.DataLen > 0 && &data[0] != &t.cmd.Data[from] {
		copy(t.cmd.Data[from:to], data)
	}
	if d.HasStatus {
		return c.ends(h, t, scsi.Status(d.Status), nil,
			residual{over: d.Overflow, under: d.Underflow, bytes: d.Residual})
	}
	return nil
}

package iscsi

import (
	"math"
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

const (
	// snackTimeout is how long what a SNACK asked for may take to come.
	snackTimeout = time.Second
	// maxSNACKs is how often in a row it is asked for in vain.
	maxSNACKs = 4
	// maxRuns bounds the SNACKs that one gap or one timeout may send.
	maxRuns = 64
)

// A repair is what a connection does about lost PDUs, RFC 7143 section 7.4: from
// error recovery level 1 on.
type repair struct {
	gapped   ring[uint32]  // tags of tasks of which Data-In or R2Ts are missing
	resendAt time.Duration // when what was asked for is asked for again
	snacked  bool          // a SNACK was ever sent, so that a PDU may come twice
	stallAt  time.Duration // when to look for tasks that do not get on
}

func (r *repair) init() { r.resendAt = math.MaxInt64 }

// snack queues a SNACK, RFC 7143 section 11.16.
func (c *Conn) snack(s pdu.SNACK) {
	s.ExpStatSN = c.expStatSN
	h := &c.scratch
	s.Marshal(h)
	c.out.Push(h, nil, pdu.Urgent)
	if s.Type != pdu.SNACKDataACK {
		c.repair.snacked = true
		c.repair.resendAt = min(c.repair.resendAt, c.life+snackTimeout)
	}
}

// askStatus asks for status PDUs that were found missing.
func (c *Conn) askStatus() error {
	if c.stat.asked >= c.stat.known || c.state == connDead {
		return nil
	}
	return c.askStatusFrom(c.stat.asked)
}

func (c *Conn) askStatusFrom(from int) error {
	return c.stat.ask(from, func(begin, length int) {
		c.s.counters.StatusSNACKs++
		c.snack(pdu.SNACK{Type: pdu.SNACKStatus, ITT: pdu.ReservedTag, TTT: pdu.ReservedTag,
			BegRun: uint32(begin), RunLength: uint32(length)})
	})
}

// ask has every run of missing numbers at or after from asked for.
func (n *numbers) ask(from int, request func(begin, length int)) error {
	for i, r := 0, (extent{}); ; i++ {
		var ok bool
		if r, ok = n.run(max(from, r.to)); !ok {
			break
		}
		if i == maxRuns {
			return errManyGaps
		}
		request(r.from, r.to-r.from)
	}
	n.asked = n.known
	return nil
}

// askData asks for Data-In or R2Ts of a task: those after from that are missing. If
// the status came early and the target did not tell what was before it, all that
// follows is asked for.
func (c *Conn) askData(t *task, from int) error {
	n, count := &t.in.sn, &c.s.counters.DataSNACKs
	if t.cmd.Dir == scsi.Write {
		n, count = &t.out.sn, &c.s.counters.R2TSNACKs
	}
	request := func(begin, length int) {
		*count++
		c.snack(pdu.SNACK{Type: pdu.SNACKData, ITT: t.itt, TTT: pdu.ReservedTag,
			BegRun: uint32(begin), RunLength: uint32(length)})
	}
	if err := n.ask(from, request); err != nil {
		return err
	}
	if t.in.held && !n.missing() {
		request(n.next, 0)
	}
	if !t.gapped {
		t.gapped = true
		c.repair.gapped.push(t.itt)
	}
	return nil
}

// incomplete says whether PDUs of a task are known to be missing.
func (t *task) incomplete() bool {
	return t.in.held || t.in.sn.missing() || t.out.sn.missing()
}

// resend asks again for what did not come in time, a bounded number of times.
func (c *Conn) resend(now time.Duration) error {
	if now < c.repair.resendAt {
		return nil
	}
	c.repair.resendAt = math.MaxInt64
	if c.stat.missing() {
		if c.stat.tries++; c.stat.tries >= maxSNACKs {
			return &TimeoutError{What: "answer to Status SNACK", After: maxSNACKs * snackTimeout}
		}
		if err := c.askStatusFrom(c.stat.next); err != nil {
			return err
		}
		c.repair.resendAt = now + snackTimeout
	}
	for range c.repair.gapped.len() {
		t := c.s.tasks.findFor(c.repair.gapped.pop(), kindCommand, c)
		if t == nil || t.state != taskIssued {
			continue
		}
		t.gapped = false
		if !t.incomplete() || t.refused {
			continue
		}
		from := t.in.sn.next
		if t.cmd.Dir == scsi.Write {
			from = t.out.sn.next
		}
		if t.tries++; t.tries >= maxSNACKs {
			if t.cmd.Dir == scsi.Write {
				c.skipR2Ts(t)
				continue
			}
			return &TimeoutError{What: "answer to Data SNACK", After: maxSNACKs * snackTimeout}
		}
		if err := c.askData(t, from); err != nil {
			return err
		}
		c.repair.resendAt = now + snackTimeout
	}
	return nil
}

// damaged takes a PDU whose data segment is not what the target sent. At error
// recovery level 0 it ends the session. Above it the PDU counts as lost, RFC 7143
// section 7.8, and its header tells what is to be asked for.
func (c *Conn) damaged(h *pdu.Header) error {
	if c.s.level == 0 {
		return errDataDigest
	}
	c.s.counters.DigestErrors++
	status := 0
	if hasStatus(h) {
		status = c.stat.number(h.StatSN())
		if status-c.stat.next > maxGap {
			return errDataDigest
		}
		c.stat.exists(status)
	}
	if h.Opcode() != pdu.OpDataIn {
		return c.askStatus()
	}
	d, err := pdu.ParseDataIn(h)
	if err != nil {
		return err
	}
	t, err := c.readOf(h, &d)
	if t == nil || err != nil {
		return err
	}
	i := t.in.sn.number(d.DataSN)
	if i-t.in.sn.next > maxGap {
		return errDataDigest
	}
	if !t.in.sn.fresh(i) {
		return c.askStatus()
	}
	t.in.sn.exists(i)
	t.in.overlay()
	if d.HasStatus && c.stat.fresh(status) {
		// The status comes with the data.
		t.in.damaged, t.in.damagedAt = true, status
		if c.stat.asked == status {
			c.stat.asked = status + 1
			c.repair.resendAt = min(c.repair.resendAt, c.life+snackTimeout)
		}
	}
	if err := c.askData(t, t.in.sn.asked); err != nil {
		return err
	}
	return c.askStatus()
}

// acknowledgeData answers the A bit of Data-In, RFC 7143 section 11.7.2, once there
// is no gap before it.
func (c *Conn) acknowledgeData(t *task) {
	a := &t.in.ack
	if !a.due || t.in.sn.next < a.upTo {
		return
	}
	a.due = false
	c.s.counters.DataACKs++
	c.snack(pdu.SNACK{Type: pdu.SNACKDataACK, LUN: a.lun, ITT: pdu.ReservedTag, TTT: a.ttt,
		BegRun: uint32(t.in.sn.next)})
}

// refusedSNACK takes a Reject of a SNACK. A task whose data does not come again
// ends with a protocol service CRC error once its status is there (RFC 7143 section
// 7.8), and lost status cannot be had at all.
func (c *Conn) refusedSNACK(bad *pdu.Header, reason pdu.RejectReason) error {
	s, err := pdu.ParseSNACK(bad)
	if err != nil {
		return err
	}
	switch s.Type {
	case pdu.SNACKStatus:
		if c.stat.fresh(c.stat.number(s.BegRun)) {
			return &RejectError{Reason: reason, PDU: pdu.OpSNACK}
		}
	case pdu.SNACKData:
		t := c.s.tasks.findFor(s.ITT, kindCommand, c)
		if t == nil || t.state != taskIssued || !t.incomplete() {
			return nil
		}
		if t.cmd.Dir == scsi.Write {
			c.skipR2Ts(t)
			return nil
		}
		t.refused = true
		if t.in.held {
			c.complete(t, serviceCRC())
		}
	}
	return nil
}

// skipR2Ts waits no longer for R2Ts that are missing: the target has asked for their data
// otherwise, or will.
func (c *Conn) skipR2Ts(t *task) {
	n := &t.out.sn
	for n.missing() {
		n.arrive(n.next)
	}
	c.queueTransfers(t)
}

// serviceCRC is "protocol service CRC error" of a command whose data was lost.
func serviceCRC() error {
	return &scsi.StatusError{
		Status: scsi.CheckCondition,
		Sense:  scsi.Sense{Key: scsi.AbortedCommand, ASC: 0x47, ASCQ: 0x05},
	}
}

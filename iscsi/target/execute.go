package target

import (
	"bytes"
	"errors"
	"time"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// execute does a task whose data is there, or reports the unit attention that
// has to be known before (SAM-5 section 5.14). Ghosts have nobody to tell.
func (t *Target) execute(now time.Duration, k *task) {
	if k.unit != nil && k.conn != nil {
		// This status takes precedence over all others (SAM-5 section 5.3.3).
		if k.unit.pr.conflicts(k.nexus.key, &k.cdb) {
			t.respond(now, k, scsi.ReservationConflict, nil)
			return
		}
		switch k.cdb.Op {
		case scsi.OpInquiry, scsi.OpReportLUNs, scsi.OpRequestSense:
		default:
			if a := &k.nexus.attention[k.unit.index]; a.n > 0 {
				sense := a.take()
				t.respond(now, k, scsi.CheckCondition, &sense)
				return
			}
		}
		if sense, not := t.access(k); not {
			k.refuse(scsi.CheckCondition, sense)
		}
		t.faults.refuse(k)
	}
	if k.refused {
		t.respond(now, k, k.status, &k.sense)
		return
	}
	switch k.cdb.Op {
	case scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16:
		t.executeRead(now, k)
	case scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16:
		t.executeWrite(now, k)
	case scsi.OpSynchronizeCache10, scsi.OpSynchronizeCache16:
		k.op = Op{Kind: OpFlush}
		k.op.Offset, k.op.Length = k.cdb.LBA<<k.unit.shift, uint64(k.cdb.Blocks)<<k.unit.shift
		k.count(OpFlush, 0)
		t.submit(now, k)
	case scsi.OpUnmap:
		t.executeUnmap(now, k)
	case scsi.OpWriteSame10, scsi.OpWriteSame16:
		t.executeWriteSame(now, k)
	case scsi.OpVerify10, scsi.OpVerify16:
		t.executeVerify(now, k)
	case scsi.OpMaintenanceOut:
		t.setPortGroups(now, k)
	case scsi.OpPersistentReserveOut:
		t.executeReserve(now, k)
	case scsi.OpTestUnitReady:
		t.respond(now, k, scsi.Good, nil)
	default:
		t.executeInquiry(now, k)
	}
}

// submit hands k.op, and what follows it, to the store. What is not over at once
// goes on in storeDone.
func (t *Target) submit(now time.Duration, k *task) {
	for {
		k.op.Done = k.done
		if k.nexus != nil {
			k.op.Nexus = k.nexus.id
		}
		if k.op.Kind != OpFlush && k.op.Kind != OpRead {
			k.op.FUA = k.cdb.FUA || !k.unit.WriteCache
		}
		if !k.unit.Store.Submit(&k.op) {
			break
		}
		if !t.proceed(now, k) {
			return
		}
	}
	if k.state != taskStored {
		k.state = taskStored
		k.park()
		if k.session != nil {
			k.session.stored++
		}
	}
}

// storeDone takes the outcome of an operation that was pending.
func (t *Target) storeDone(now time.Duration, k *task) {
	s, m, e := k.session, k.tmf, k.ending
	switch {
	case k.aborted:
		k.leaveStore()
		t.free(k)
	case k.reset:
		k.leaveStore()
		t.respond(now, k, scsi.TaskAborted, nil)
	default:
		c := k.conn
		if t.proceed(now, k) {
			t.submit(now, k)
		}
		if c != nil {
			c.fill(now)
		}
	}
	if m != nil {
		m.settled(now)
	}
	if e != nil {
		e.settled(now)
	}
	if s != nil && s.over && s.stored == 0 {
		t.releaseHeld(now)
		s.settleEndings(now)
	}
}

// leaveStore ends taskStored.
func (k *task) leaveStore() {
	if k.state == taskStored {
		k.state = taskNew
		if k.session != nil {
			k.session.stored--
		}
	}
}

// proceed goes on after an operation. It is true if the command has another one,
// which is in k.op; else the answer is on its way.
func (t *Target) proceed(now time.Duration, k *task) bool {
	if k.op.Err != nil {
		sense := storeSense(&k.op)
		k.leaveStore()
		t.respond(now, k, scsi.CheckCondition, &sense)
		return false
	}
	switch k.cdb.Op {
	case scsi.OpUnmap:
		if k.nextRange() {
			return true
		}
	case scsi.OpWriteSame10, scsi.OpWriteSame16:
		if k.op.Kind == OpWrite && k.nextPiece() {
			return true
		}
	case scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16:
		k.leaveStore()
		t.sendIn(now, k)
		return false
	case scsi.OpVerify10, scsi.OpVerify16:
		if !bytes.Equal(k.op.Data, k.out.data) {
			k.leaveStore()
			t.respond(now, k, scsi.CheckCondition, &miscompare)
			return false
		}
	}
	k.leaveStore()
	t.respond(now, k, scsi.Good, nil)
	return false
}

func storeSense(op *Op) scsi.Sense {
	switch {
	case errors.Is(op.Err, ErrNoSpace):
		return thinExhausted
	case errors.Is(op.Err, ErrReadOnly):
		return writeProtected
	case op.Kind == OpRead:
		return readFailed
	}
	return writeFailed
}

// respond ends a task with a SCSI Response (RFC 7143 section 11.4).
func (t *Target) respond(now time.Duration, k *task, status scsi.Status, sense *scsi.Sense) {
	c := k.conn
	if !k.answers() && !k.waits() {
		t.free(k)
		return
	}
	k.status = status
	if sense != nil {
		k.sense = *sense
	}
	if k.waits() {
		k.hold()
		return
	}
	k.discharge() // so that the window, which the response tells, is open again
	k.statSN = c.statSN
	c.statSN++
	c.sendResponse(k)
	if c.level == 0 {
		t.free(k)
		return
	}
	k.releaseOut()
	c.keepTask(k)
}

// sendResponse sends the SCSI Response of a task whose status is numbered, for
// the first time or again.
func (c *Conn) sendResponse(k *task) {
	r := pdu.SCSIResponse{
		Status: uint8(k.status), ITT: k.itt, SNACKTag: k.tag, StatSN: k.statSN,
		ExpCmdSN: c.session.expCmdSN, MaxCmdSN: c.session.maxCmdSN,
		ExpDataSN: k.out.r2tSN + k.in.dataSN,
	}
	done := uint64(0)
	if k.status == scsi.Good {
		done = k.in.avail + uint64(k.out.want)
	}
	r.Overflow, r.Underflow, r.Residual = residual(k.expected, done)
	var b *buffer
	var data []byte
	if k.status == scsi.CheckCondition {
		b = c.t.pool.must(1 << minBufferBits)
		data = pdu.AppendSense(b.b[:0], k.sense.Append(c.t.sense[:0], false))
		r.DataLen = len(data)
	}
	r.Marshal(&c.header)
	k.in.ticket = c.push(&c.header, data, nil, nil, b)
}

// residual compares what the initiator expected to move with what the command
// moves (RFC 7143 section 11.4.5).
func residual(expected uint32, moved uint64) (over, under bool, n uint32) {
	switch {
	case uint64(expected) < moved:
		return true, false, uint32(min(moved-uint64(expected), 1<<32-1))
	case uint64(expected) > moved:
		return false, true, expected - uint32(moved)
	}
	return false, false, 0
}

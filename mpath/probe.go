package mpath

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"braid/iscsi/scsi"
)

// Bounds of the verification of a path.
const (
	probeTries   = 20               // refusals that pass, over all commands of one probe
	probePause   = time.Second      // between tries while the device is not ready
	probeTimeout = 15 * time.Second // for one command
	probeBuffer  = 1024             // bytes of the largest answer that is read
)

// A probe verifies a new session before it carries I/O: it takes the unit attentions
// of the new nexus, then reads what the LUN is.
type probe struct {
	steps []probeStep
	step  int
	busy  bool // a command is out
	left  int  // optional steps that were refused
	tries int
	wait  time.Duration // not before
	lun   LUN
	key   uint64 // to register

	registered bool
	id         string

	access   access
	grouped  bool             // page 83h names a target port group
	denied   bool             // a command was refused because of the access state
	deniedBy scsi.AccessState // that was told

	pages []byte
	buf   [probeBuffer]byte
}

// A probeStep is one command of a probe. An optional one may be refused.
type probeStep struct {
	name     string
	cdb      func(p *probe) ([16]byte, int) // and the bytes of its answer; below 0: skip
	take     func(p *probe, b []byte) error
	optional bool
}

var probeSteps = []probeStep{
	{"TEST UNIT READY", func(*probe) ([16]byte, int) { return scsi.TestUnitReady(), 0 }, nil, false},
	{"INQUIRY", func(*probe) ([16]byte, int) { return scsi.Inquiry(false, 0, 96), 96 },
		func(p *probe, b []byte) error {
			d, err := scsi.ParseInquiry(b)
			if err != nil {
				return err
			}
			return p.lun.setInquiry(d)
		}, false},
	{"READ CAPACITY(16)", func(*probe) ([16]byte, int) { return scsi.ReadCapacity16(32), 32 },
		func(p *probe, b []byte) error {
			c, err := scsi.ParseCapacity16(b)
			if err != nil {
				return err
			}
			return p.lun.setCapacity(c)
		}, true},
	{"READ CAPACITY(10)", func(p *probe) ([16]byte, int) {
		if p.lun.Blocks != 0 {
			return [16]byte{}, -1
		}
		return scsi.ReadCapacity10(), 8
	}, func(p *probe, b []byte) error {
		c, err := scsi.ParseCapacity10(b)
		if err != nil {
			return err
		}
		if c.More {
			return &RefusedError{Reason: "the LUN is too large for READ CAPACITY(10), and READ " +
				"CAPACITY(16) did not tell its size"}
		}
		p.lun.short = true
		return p.lun.setCapacity(c)
	}, false},
	page(scsi.PageSupported, func(p *probe, b []byte) error {
		pages, err := scsi.ParseSupportedPages(b)
		p.pages = append(p.pages[:0], pages...)
		return err
	}),
	page(scsi.PageUnitSerial, func(p *probe, b []byte) error {
		serial, err := scsi.ParseUnitSerial(b)
		p.lun.Serial = strings.TrimSpace(string(serial))
		return err
	}),
	page(scsi.PageDeviceID, func(p *probe, b []byte) error {
		d, err := scsi.ParseDeviceID(b)
		p.id = d.Identity()
		p.access.group, p.grouped = d.TargetPortGroup()
		return err
	}),
	portGroupsStep(true),
	portGroupsStep(false),
	page(scsi.PageBlockLimits, func(p *probe, b []byte) error {
		l, err := scsi.ParseBlockLimits(b)
		p.lun.setLimits(l)
		return err
	}),
	page(scsi.PageBlockCharacteristics, func(p *probe, b []byte) error {
		c, err := scsi.ParseBlockCharacteristics(b)
		p.lun.Rotational = c.Rotational()
		return err
	}),
	page(scsi.PageLogicalProvisioning, func(p *probe, b []byte) error {
		l, err := scsi.ParseLogicalProvisioning(b)
		p.lun.Unmap, p.lun.UnmapSame = l.LBPU, l.LBPWS
		p.lun.ZeroedWhenUnmap = p.lun.ZeroedWhenUnmap || l.LBPRZ
		return err
	}),
	{modeStep, func(*probe) ([16]byte, int) {
		return scsi.ModeSense6(scsi.ModePageCaching, 0, 192), 192
	},
		func(p *probe, b []byte) error {
			m, err := scsi.ParseMode6(b)
			p.lun.WriteCache, p.lun.FUA = m.WCE, m.DPOFUA
			p.lun.WriteProtected = m.WriteProtected
			return err
		}, true},
	{writeSameStep, probeWriteSame, nil, true},
}

// portGroupsStep asks for the access state, where the LUN tells it: with the extended header
// first, which older devices refuse.
func portGroupsStep(extended bool) probeStep {
	return probeStep{
		name: "REPORT TARGET PORT GROUPS",
		cdb: func(p *probe) ([16]byte, int) {
			switch {
			case p.lun.TPGS == scsi.TPGSNone, !p.grouped, p.access.told:
				return [16]byte{}, -1
			case extended:
				return scsi.ReportTargetPortGroupsExtended(accessBytes), accessBytes
			}
			return scsi.ReportTargetPortGroups(accessBytes), accessBytes
		},
		take: func(p *probe, b []byte) error {
			p.access.extended = extended
			return p.access.take(b, p.grouped)
		},
		optional: true,
	}
}

const (
	modeStep      = "MODE SENSE(6)"
	writeSameStep = "WRITE SAME(16)"
)

// farLBA lies beyond the end of every LUN: a WRITE SAME there writes nothing, and the
// refusal tells whether the command is known at all.
const farLBA = ^uint64(0) - 15

func probeWriteSame(p *probe) ([16]byte, int) {
	if p.lun.WriteProtected || p.lun.short {
		p.lun.noSame = true
		return [16]byte{}, -1
	}
	return scsi.WriteSame16(farLBA, 1, false, false), int(p.lun.BlockSize)
}

// page reads a page of vital product data where the LUN has it.
func page(code uint8, take func(p *probe, b []byte) error) probeStep {
	return probeStep{
		name: fmt.Sprintf("INQUIRY of page %02Xh", code),
		cdb: func(p *probe) ([16]byte, int) {
			if code != scsi.PageSupported && !contains(p.pages, code) {
				return [16]byte{}, -1
			}
			return scsi.Inquiry(true, code, 512), 512
		},
		take: take, optional: true,
	}
}

func contains(pages []byte, code uint8) bool {
	for _, p := range pages {
		if p == code {
			return true
		}
	}
	return false
}

// next fills in the probe's next command. It is false when the probe is complete.
func (p *probe) next(c *scsi.Command) bool {
	for ; p.step < len(p.steps); p.step++ {
		cdb, n := p.steps[p.step].cdb(p)
		if n < 0 {
			continue
		}
		c.CDB, c.Timeout, c.Dir, c.Data = cdb, probeTimeout, scsi.None, nil
		switch {
		case p.steps[p.step].name == writeSameStep:
			c.Dir, c.Data = scsi.Write, zeroes[:n]
		case p.steps[p.step].name == registerStep:
			c.Dir = scsi.Write
			c.Data = scsi.ReserveParameters{ServiceKey: p.key}.Append(p.buf[:0])
		case n > 0:
			c.Dir, c.Data = scsi.Read, p.buf[:n]
			clear(c.Data)
		}
		return true
	}
	p.lun.identify(p.id)
	return false
}

// answer takes the answer to the command that next gave. An error ends the probe.
func (p *probe) answer(now time.Duration, c *scsi.Command) error {
	s := &p.steps[p.step]
	if c.Err == nil {
		if s.take != nil {
			if err := s.take(p, c.Data[:c.Transferred]); err != nil && !p.tolerates(s, err) {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		p.step++
		return nil
	}
	v := judge(c.Err)
	if v.action == inaccessible {
		p.denied, p.deniedBy = true, v.access
		p.step++
		return nil
	}
	passes := v.action == again || v.action == later
	switch {
	case passes && p.tries < probeTries:
		p.tries++
		if v.action == later {
			p.wait = now + probePause
		}
		return nil
	case v.status != nil && s.optional && !passes:
		if s.name == writeSameStep {
			p.lun.noSame = v.status.Sense.ASC != 0x21 // LBA out of range: it is known
		}
		p.step++
		p.left++
		return nil
	case v.status != nil && v.status.Sense.Key == scsi.IllegalRequest && v.status.Sense.ASC == 0x25:
		return &RefusedError{Reason: "the target has no such LUN: see which it has with " +
			"`braid inquire`, and check that its access lists name this initiator"}
	}
	return fmt.Errorf("%s: %w", s.name, c.Err)
}

// tolerates reports whether a malformed answer may be left out.
func (p *probe) tolerates(s *probeStep, err error) bool {
	var refused *RefusedError
	return s.optional && !errors.As(err, &refused)
}

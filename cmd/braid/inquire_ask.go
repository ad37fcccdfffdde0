package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"braid/iscsi/scsi"
)

const (
	inquiryBytes = 512
	lunListBytes = 16 + 8*4096
	aluaBytes    = 16 << 10
)

// ask fills the report in. What a LUN need not have may be missing from it.
func (r *Inquiry) ask(t *talk, u URL) error {
	if _, err := t.read(scsi.TestUnitReady(), 0); err != nil && !isNotReady(err) {
		return r.noLUN(err, u)
	}
	data, err := t.read(scsi.Inquiry(false, 0, 96), 96)
	if err != nil {
		return r.noLUN(err, u)
	}
	d, err := scsi.ParseInquiry(data)
	if err != nil {
		return err
	}
	if !d.Present() {
		return r.noLUN(nil, u)
	}
	if d.DeviceType != scsi.DiskType {
		return fmt.Errorf("LUN %d is no disk: its device type is %02xh", u.LUN, d.DeviceType)
	}
	r.Vendor, r.Product, r.Revision = d.Vendor, d.Product, d.Revision
	if err := r.askCapacity(t); err != nil {
		return err
	}
	if err := r.askPages(t); err != nil {
		return err
	}
	if err := r.askMode(t); err != nil {
		return err
	}
	if d.TPGS != scsi.TPGSNone {
		r.ALUAModes = [...]string{"", "implicit", "explicit", "implicit and explicit"}[d.TPGS&3]
		return r.askALUA(t)
	}
	return nil
}

// A noLUNError says that a target has no such LUN for this initiator.
type noLUNError struct {
	url       URL
	initiator string
	luns      []uint32 // those that it has
}

func (e *noLUNError) Error() string {
	if len(e.luns) == 0 {
		return fmt.Sprintf("%s has no LUN %d, nor any other for initiator %s: "+
			"check the access list of the target", e.url.Target, e.url.LUN, e.initiator)
	}
	return fmt.Sprintf("%s has no LUN %d: it has %s", e.url.Target, e.url.LUN, lunList(e.luns))
}

// noLUN is the error of a LUN that did not answer as one does.
func (r *Inquiry) noLUN(err error, u URL) error {
	var s *scsi.StatusError
	if err != nil && !(errors.As(err, &s) && s.Sense.Key == scsi.IllegalRequest) {
		return err
	}
	return &noLUNError{u, r.Session.Initiator, r.LUNs}
}

func lunList(luns []uint32) string {
	words := make([]string, 0, len(luns))
	for _, n := range luns {
		words = append(words, fmt.Sprint(n))
	}
	return strings.Join(words, ", ")
}

func isNotReady(err error) bool {
	var s *scsi.StatusError
	return errors.As(err, &s) && s.Sense.Key == scsi.NotReady
}

// refused says whether the device itself said no: what was asked for is then
// taken as not there.
func refused(err error) bool {
	var s *scsi.StatusError
	return errors.As(err, &s)
}

func (r *Inquiry) askLUNs(t *talk) {
	data, err := t.read(scsi.ReportLUNs(lunListBytes), lunListBytes)
	if err != nil {
		return // the command that follows says what is wrong
	}
	list, _, err := scsi.ParseLUNs(data)
	if err != nil {
		return
	}
	for _, l := range list {
		if n, ok := l.Number(); ok {
			r.LUNs = append(r.LUNs, n)
		}
	}
	slices.Sort(r.LUNs)
}

func (r *Inquiry) askCapacity(t *talk) error {
	var c scsi.Capacity
	data, err := t.read(scsi.ReadCapacity16(32), 32)
	if err == nil {
		c, err = scsi.ParseCapacity16(data)
	} else if refused(err) {
		if data, err = t.read(scsi.ReadCapacity10(), 8); err == nil {
			c, err = scsi.ParseCapacity10(data)
		}
	}
	if err != nil {
		return err
	}
	r.SizeBytes, r.BlockSize = c.Bytes(), c.BlockSize
	r.Physical = c.BlockSize << c.PhysicalExponent
	r.Thin, r.ZeroesUnmap = c.LBPME, c.LBPRZ
	return nil
}

func (r *Inquiry) askPages(t *talk) error {
	pages, err := page(t, scsi.PageSupported, scsi.ParseSupportedPages)
	if err != nil {
		return err
	}
	has := func(p uint8) bool { return slices.Contains(pages, p) }
	if has(scsi.PageUnitSerial) {
		serial, err := page(t, scsi.PageUnitSerial, scsi.ParseUnitSerial)
		if err != nil {
			return err
		}
		r.Serial = strings.TrimSpace(string(serial))
	}
	if has(scsi.PageDeviceID) {
		id, err := page(t, scsi.PageDeviceID, scsi.ParseDeviceID)
		if err != nil {
			return err
		}
		r.WWID = id.Identity()
		if g, ok := id.TargetPortGroup(); ok {
			r.ALUA = append(r.ALUA, aluaInfo{Group: g, Ours: true})
		}
	}
	if has(scsi.PageBlockLimits) {
		l, err := page(t, scsi.PageBlockLimits, scsi.ParseBlockLimits)
		if err != nil {
			return err
		}
		block := uint64(r.BlockSize)
		r.MaxTransfer, r.OptTransfer = uint64(l.MaxTransfer)*block, uint64(l.OptTransfer)*block
		r.MaxUnmap = uint64(l.MaxUnmapLBAs) * block
		r.MaxWriteSame = l.MaxWriteSame * block
	}
	if has(scsi.PageBlockCharacteristics) {
		c, err := page(t, scsi.PageBlockCharacteristics, scsi.ParseBlockCharacteristics)
		if err != nil {
			return err
		}
		if rotates := c.Rotational(); c.Rotation != 0 {
			r.Rotational = &rotates
		}
	}
	if has(scsi.PageLogicalProvisioning) {
		p, err := page(t, scsi.PageLogicalProvisioning, scsi.ParseLogicalProvisioning)
		if err != nil {
			return err
		}
		r.Unmap, r.UnmapSame = p.LBPU, p.LBPWS
		r.ZeroesUnmap = r.ZeroesUnmap || p.LBPRZ
	}
	return nil
}

// page reads one page of vital product data; the zero value where the LUN
// refuses it.
func page[T any](t *talk, code uint8, parse func([]byte) (T, error)) (T, error) {
	var none T
	data, err := t.read(scsi.Inquiry(true, code, inquiryBytes), inquiryBytes)
	if refused(err) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	return parse(data)
}

func (r *Inquiry) askMode(t *talk) error {
	data, err := t.read(scsi.ModeSense6(scsi.ModePageAll, 0, 255), 255)
	if refused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	m, err := scsi.ParseMode6(data)
	if err != nil {
		return err
	}
	r.ReadOnly, r.FUA = m.WriteProtected, m.DPOFUA
	if m.HasCaching {
		r.WriteCache = &m.WCE
	}
	return nil
}

func (r *Inquiry) askALUA(t *talk) error {
	data, err := t.read(scsi.ReportTargetPortGroupsExtended(aluaBytes), aluaBytes)
	if refused(err) { // an older device
		data, err = t.read(scsi.ReportTargetPortGroups(aluaBytes), aluaBytes)
	}
	if refused(err) {
		return nil
	}
	if err != nil {
		return err
	}
	groups, _, err := scsi.ParsePortGroups(data)
	if err != nil {
		return err
	}
	r.Transition = int(groups.TransitionTime)
	var ours uint16
	known := len(r.ALUA) > 0
	if known {
		ours = r.ALUA[0].Group
	}
	r.ALUA = r.ALUA[:0]
	for _, g := range groups.Groups {
		r.ALUA = append(r.ALUA, aluaInfo{g.ID, g.State.String(), g.Pref, known && g.ID == ours})
	}
	return nil
}

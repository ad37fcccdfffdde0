package target

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

func (w *words) count(what string) (int, error) {
	word := w.next()
	n, err := strconv.Atoi(word)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no count of %s", word, what)
	}
	return n, nil
}

func (w *words) lun() (uint16, error) {
	word := w.next()
	n, err := strconv.ParseUint(word, 10, 14)
	if err != nil {
		return 0, fmt.Errorf("%q is no LUN", word)
	}
	return uint16(n), nil
}

func (f *fault) parseFull(w *words) error {
	switch word := w.next(); word {
	case "temporary":
	case "resources":
		f.resource = true
	default:
		return fmt.Errorf("%q is neither `temporary` nor `resources`", word)
	}
	var err error
	f.count, err = w.count("logins")
	return err
}

func (f *fault) parseRestart(w *words) (err error) {
	switch word := w.next(); word {
	case "keep-cache":
	case "lose-cache":
		f.restart.Cache = CacheLost
	case "lose-some":
		f.restart.Cache = CachePartlyLost
	default:
		return fmt.Errorf("%q is none of keep-cache, lose-cache, lose-some", word)
	}
	f.restart.HalfOpen = w.take("half-open")
	if w.take("down") {
		f.restart.Down, err = w.duration()
	}
	return err
}

// answers are what commands can be refused with.
var answers = []struct {
	name   string
	status scsi.Status
	sense  scsi.Sense
}{
	{"busy", scsi.Busy, scsi.Sense{}},
	{"task-set-full", scsi.TaskSetFull, scsi.Sense{}},
	{"reservation-conflict", scsi.ReservationConflict, scsi.Sense{}},
	{"task-aborted", scsi.TaskAborted, scsi.Sense{}},
	{"aborted-command", scsi.CheckCondition, scsi.Sense{Key: scsi.AbortedCommand}},
	{"not-ready", scsi.CheckCondition, scsi.Sense{Key: scsi.NotReady, ASC: 0x04, ASCQ: 0x01}},
	{"medium-error", scsi.CheckCondition, writeFailed},
	{"no-space", scsi.CheckCondition, thinExhausted},
}

var commandNames = [...]string{AnyCommand: "all", ReadCommands: "reads", WriteCommands: "writes",
	FlushCommands: "flushes"}

func (f *fault) parseDelay(w *words) (err error) {
	if f.portal, err = w.where(); err != nil {
		return err
	}
	if f.off = w.take("off"); f.off {
		return nil
	}
	if f.min, f.max, err = w.interval(); err != nil || len(*w) == 0 {
		return err
	}
	if i := slices.Index(commandNames[:], (*w)[0]); i >= 0 {
		f.which = Commands(i)
		w.next()
	}
	return nil
}

func (f *fault) parseRefuse(w *words) (err error) {
	if f.refusal.Count, err = w.count("commands"); err != nil {
		return err
	}
	word := w.next()
	i := slices.Index(commandNames[:], word)
	if i < 0 {
		return fmt.Errorf("%q is none of %s", word, strings.Join(commandNames[:], ", "))
	}
	f.refusal.Which = Commands(i)
	word = w.next()
	for _, a := range answers {
		if a.name == word {
			f.refusal.Status, f.refusal.Sense = a.status, a.sense
			return nil
		}
	}
	return fmt.Errorf("%q is no answer to a command", word)
}

func (f *fault) parseDisturb(w *words) (err error) {
	d := &f.disturb
	d.Portal = -1
	word := w.next()
	number, percent := strings.CutSuffix(word, "%")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || percent && n > 100 {
		return fmt.Errorf("%q is no count of PDUs, nor so many %% of them", word)
	}
	d.Count = n
	if percent {
		d.Count, d.Percent = 0, n
	}
	word = w.next()
	i := slices.Index(pduNames[:], word)
	if i < 0 {
		return fmt.Errorf("%q is none of %s", word, strings.Join(pduNames[:], ", "))
	}
	d.What = PDUs(i)
	if f.name == "damage" {
		d.Digest = DataDamage
		if w.take("header") {
			d.Digest = HeaderDamage
		}
	}
	if w.take("after") {
		if d.After, err = w.count("PDUs"); err != nil {
			return err
		}
	}
	if len(*w) > 0 && (*w)[0] == "portal" {
		d.Portal, err = w.where()
	}
	return err
}

func (f *fault) parseReset(w *words) (err error) {
	if !w.take("cid") {
		return fmt.Errorf("%q is not `cid`", w.next())
	}
	f.count, err = w.count("a CID")
	return err
}

func (f *fault) parseAsync(w *words) (err error) {
	switch word := w.next(); word {
	case "logout":
		f.event = pdu.AsyncLogoutRequest
		if f.min, err = w.duration(); err != nil {
			return err
		}
	case "drop":
		f.event = pdu.AsyncDropConnection
	case "drop-session":
		f.event = pdu.AsyncDropSession
	default:
		return fmt.Errorf("%q is none of logout, drop, drop-session", word)
	}
	f.portal, err = w.where()
	return err
}

func (f *fault) parseAccess(w *words) error {
	word := w.next()
	n, err := strconv.ParseUint(word, 10, 16)
	if err != nil {
		return fmt.Errorf("%q is no portal group", word)
	}
	f.group = int(n)
	switch word := w.next(); word {
	case "optimized":
		f.access = scsi.ActiveOptimized
	case "nonoptimized":
		f.access = scsi.ActiveNonOptimized
	case "standby":
		f.access = scsi.Standby
	case "unavailable":
		f.access = scsi.Unavailable
	case "transitioning":
		f.access = scsi.Transitioning
	default:
		return fmt.Errorf("%q is no access state", word)
	}
	return nil
}

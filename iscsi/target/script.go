package target

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"braid/iscsi/scsi"
)

// A Script is a list of faults and when they come. One line is one fault:
//
//	at TIME [every TIME] FAULT [for TIME]
//
// TIME is a Go duration, since the script was started. Empty lines and what
// follows a # do not count. The faults are:
//
//	cut WHERE                       connections are reset, new ones refused
//	blackhole WHERE                 what comes in is swallowed, nothing goes out
//	stall WHERE                     nothing is read or sent; it goes on afterwards
//	delay WHERE TIME[..TIME] [reads|writes|flushes]
//	                                commands wait before they are executed
//	execute-late TIME[..TIME]       commands of a lost nexus are executed that much later
//	no-abort                        reinstatement does not abort the old session's commands
//	full temporary|resources COUNT  that many logins are answered 0301h or 0302h
//	refuse COUNT all|reads|writes|flushes busy|task-set-full|reservation-conflict|
//	       task-aborted|aborted-command|not-ready|medium-error|no-space
//	                                that many commands are answered so, not executed
//	lose N|N% PDUS [after N] [portal N]
//	damage N|N% PDUS [header] [after N] [portal N]
//	                                so many PDUs, or so many of a hundred, are lost, or
//	                                damaged in what the data digest covers, or the
//	                                header's; `off` ends it for all
//	refuse-snacks COUNT, refuse-reassigns COUNT
//	                                that many are answered "rejected"
//	reset cid N                     the connections with that CID are reset
//	async logout TIME WHERE         initiators are asked to log out within that time
//	async drop|drop-session WHERE   connections, or whole sessions, are dropped, and
//	                                the initiators told
//	access GROUP optimized|nonoptimized|standby|unavailable|transitioning
//	                                the access state of a portal group (ALUA)
//	capacity LUN BLOCKS             the LUN has so many blocks, at most what its store has
//	write-protect LUN [off]         the LUN takes no writes
//	lose-cache [some]               all unstable writes are lost, or a random part
//	restart keep-cache|lose-cache|lose-some [half-open] [down TIME]
//
// PDUS is one of data-in, status, r2t, nop-in, response, reject, async, which the
// target sends, or command, data-out, nop-out, snack, request, which it receives;
// see Disturbance.
// WHERE is `portal N`, counted from 1, or `all`. Without `for`, what lasts stays
// until a later line changes it: `off` in place of the fault's arguments ends it
// (`at 9s blackhole all off`).
type Script struct {
	events []event
}

type event struct {
	at    time.Duration
	every time.Duration // 0: once
	lasts time.Duration // 0: until further notice
	fault fault
}

// A fault is one parsed fault. Which fields count depends on its name.
type fault struct {
	name     string
	portal   int // -1: all
	off      bool
	min, max time.Duration
	which    Commands
	count    int
	lun      uint16
	restart  Restart
	refusal  Refusal
	disturb  Disturbance
	group    int
	access   scsi.AccessState
	some     bool
	event    uint8 // of an Asynchronous Message
	resource bool
}

// maxScriptEvents bounds a script.
const maxScriptEvents = 10000

// ParseScript reads a script. An error names the line.
func ParseScript(text string) (*Script, error) {
	s := &Script{}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(s.events) == maxScriptEvents {
			return nil, fmt.Errorf("line %d: more than %d faults", i+1, maxScriptEvents)
		}
		e, err := parseEvent(words)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		s.events = append(s.events, e)
	}
	slices.SortStableFunc(s.events, compareEvents)
	return s, nil
}

func compareEvents(a, b event) int {
	switch {
	case a.at < b.at:
		return -1
	case a.at > b.at:
		return 1
	}
	return 0
}

// words are the words of a line that are not understood yet.
type words []string

func (w *words) next() string {
	if len(*w) == 0 {
		return ""
	}
	s := (*w)[0]
	*w = (*w)[1:]
	return s
}

func (w *words) take(word string) bool {
	if len(*w) > 0 && (*w)[0] == word {
		*w = (*w)[1:]
		return true
	}
	return false
}

func (w *words) duration() (time.Duration, error) {
	return parseTime(w.next())
}

func parseTime(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no time, such as 500ms or 2s", s)
	}
	return d, nil
}

// interval reads TIME or TIME..TIME.
func (w *words) interval() (from, to time.Duration, err error) {
	a, b, two := strings.Cut(w.next(), "..")
	if from, err = parseTime(a); err != nil {
		return 0, 0, err
	}
	to = from
	if two {
		if to, err = parseTime(b); err != nil {
			return 0, 0, err
		}
	}
	if to < from {
		return 0, 0, fmt.Errorf("%s..%s ends before it begins", a, b)
	}
	return from, to, nil
}

// where reads `portal N` or `all`.
func (w *words) where() (int, error) {
	if w.take("all") {
		return -1, nil
	}
	if !w.take("portal") {
		return 0, fmt.Errorf("%q is neither `portal N` nor `all`", w.next())
	}
	word := w.next()
	n, err := strconv.Atoi(word)
	if err != nil || n < 1 || n > maxPortals {
		return 0, fmt.Errorf("%q is no portal: they count from 1", word)
	}
	return n - 1, nil
}

func parseEvent(line []string) (e event, err error) {
	w := words(line)
	if !w.take("at") {
		return e, fmt.Errorf("a line begins with `at TIME`, not %q", w.next())
	}
	if e.at, err = w.duration(); err != nil {
		return e, err
	}
	if w.take("every") {
		if e.every, err = w.duration(); err != nil {
			return e, err
		}
		if e.every < time.Millisecond {
			return e, fmt.Errorf("every %v is too often", e.every)
		}
	}
	if e.fault, err = parseFault(&w); err != nil {
		return e, err
	}
	if w.take("for") {
		if e.lasts, err = w.duration(); err != nil {
			return e, err
		}
		if !e.fault.lasts() || e.fault.off {
			return e, fmt.Errorf("%s takes no `for`", e.fault.name)
		}
	}
	if len(w) > 0 {
		return e, fmt.Errorf("%q is not understood", strings.Join(w, " "))
	}
	return e, nil
}

// lasts reports whether the fault is a state that can end.
func (f *fault) lasts() bool {
	switch f.name {
	case "cut", "blackhole", "stall", "delay", "execute-late", "no-abort", "lose", "damage",
		"write-protect":
		return true
	}
	return false
}

func parseFault(w *words) (f fault, err error) {
	f.name = w.next()
	switch f.name {
	case "cut", "blackhole", "stall":
		f.portal, err = w.where()
		f.off = w.take("off")
	case "delay":
		err = f.parseDelay(w)
	case "execute-late":
		if f.off = w.take("off"); !f.off {
			f.min, f.max, err = w.interval()
		}
	case "no-abort":
		f.off = w.take("off")
	case "full":
		err = f.parseFull(w)
	case "lose-cache":
		f.some = w.take("some")
	case "restart":
		err = f.parseRestart(w)
	case "refuse":
		err = f.parseRefuse(w)
	case "lose", "damage":
		if f.off = w.take("off"); !f.off {
			err = f.parseDisturb(w)
		}
	case "refuse-snacks", "refuse-reassigns":
		f.count, err = w.count("refusals")
	case "reset":
		err = f.parseReset(w)
	case "async":
		err = f.parseAsync(w)
	case "access":
		err = f.parseAccess(w)
	case "capacity":
		if f.lun, err = w.lun(); err == nil {
			f.count, err = w.count("blocks")
		}
	case "write-protect":
		f.lun, err = w.lun()
		f.off = w.take("off")
	default:
		err = fmt.Errorf("%q is no fault", f.name)
	}
	return f, err
}

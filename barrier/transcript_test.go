package barrier

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts in testdata anew")

// TestTranscripts plays the stories in testdata. A file is prose, in lines that begin
// with #, and commands, each followed by what it brought about, indented. With
// -rewrite the indented lines are made anew: read the difference.
//
//	mode drain|hold|epoch, limit N    before anything else
//	up S, lost S, fenced S, dirty S, changed S, settled S, lose S, cache-lost, drop-copies
//	rest S, work S, standby S
//	begin W A-B [keep] [fua] [zero] [trim]
//	sent W on S | answered W | unknown W [unsent] | again W | refused W | abandon W | discard W
//	flush F [of S,S] [background]   sync   fail
//	synced Y | refused-sync Y | aborted Y | retry Y
//	read A-B    place W    fresh S    status
//
// W is a write or a copy that is written again, F a flush, Y a SYNC, S a slot.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(b))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(b); got != want {
				t.Errorf("the story went otherwise:\n%s", firstDifference(want, got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\nwant %q\ngot  %q", i+1, a, b)
		}
	}
	return ""
}

// play runs the commands of a story and returns it with what they brought about.
func play(t *testing.T, story string) string {
	var b strings.Builder
	p := newPlayer()
	for i, line := range strings.Split(strings.TrimSuffix(story, "\n"), "\n") {
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&b, line)
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if err := p.do(f); err != nil {
			t.Fatalf("line %d: %s: %v\n%s", i+1, line, err, b.String())
		}
		for _, e := range p.events() {
			fmt.Fprintln(&b, "    "+e)
		}
		if err := checkInvariants(p.l); err != nil {
			t.Fatalf("line %d: %s: %v", i+1, line, err)
		}
	}
	return b.String()
}

// A player holds the things that a story has named.
type player struct {
	l      *Ledger
	c      *Coordinator
	mode   Mode
	limit  uint64
	writes map[string]*Write
	tags   map[string]uint64
	syncs  map[string]Token
	copies int
	told   []string
}

func newPlayer() *player {
	p := &player{limit: 1 << 20, writes: map[string]*Write{}, tags: map[string]uint64{},
		syncs: map[string]Token{}}
	p.reset()
	return p
}

func (p *player) reset() {
	p.l = NewLedger(p.limit)
	p.c = NewCoordinator(p.l, p.mode)
}

func (p *player) say(format string, args ...any) {
	p.told = append(p.told, fmt.Sprintf(format, args...))
}

func (p *player) do(f []string) error {
	arg := ""
	if len(f) > 1 {
		arg = f[1]
	}
	switch f[0] {
	case "mode":
		p.mode = map[string]Mode{"drain": Drain, "hold": Hold, "epoch": Epoch}[arg]
		p.reset()
	case "limit":
		p.limit, _ = strconv.ParseUint(arg, 10, 64)
		p.reset()
	case "begin":
		return p.begin(arg, f[2:])
	case "flush":
		return p.flush(arg, f[2:])
	case "sync":
		for y, ok := p.c.NextSync(); ok; y, ok = p.c.NextSync() {
			name := fmt.Sprintf("y%d", len(p.syncs)+1)
			p.syncs[name] = y
			p.say("%s goes out on %d", name, y.Slot)
		}
	case "fail":
		p.c.Fail(fmt.Errorf("no path"))
	case "read":
		off, end, err := parseRange(arg)
		if err != nil {
			return err
		}
		p.say("%s", []string{"clear", "held", "spoilt"}[p.l.Read(off, end)])
	case "rewrite":
		off, end, err := parseRange(arg)
		if err != nil {
			return err
		}
		p.l.Retry(off, end)
	case "place":
		if slot, must := p.c.Place(p.tags[arg]); must {
			p.say("on %d only", slot)
		} else {
			p.say("anywhere")
		}
	case "status":
		p.say("kept %d, used %d, replays %d, doubtful %d, losses %d", p.l.kept.bytes(), p.l.Used(),
			p.l.Replays(), p.l.Doubtful(-1), p.l.Losses())
	case "sent", "answered", "unknown", "again", "refused", "abandon", "discard":
		return p.write(f[0], arg, f[2:])
	case "synced", "refused-sync", "aborted", "retry":
		return p.sync(f[0], arg)
	default:
		return p.slot(f[0], arg)
	}
	return nil
}

func parseRange(s string) (off, end uint64, err error) {
	_, err = fmt.Sscanf(s, "%d-%d", &off, &end)
	return off, end, err
}

func (p *player) begin(name string, f []string) error {
	if len(f) == 0 {
		return fmt.Errorf("no blocks")
	}
	off, end, err := parseRange(f[0])
	if err != nil {
		return err
	}
	w := p.l.New()
	w.Off, w.End, w.Owner = off, end, name
	for _, word := range f[1:] {
		switch word {
		case "keep":
			w.Keep = true
		case "fua":
			w.Stable = true
		case "zero":
			w.Kind = Zero
		case "trim":
			w.Kind = Trim
		default:
			return fmt.Errorf("what is %s", word)
		}
	}
	room := p.l.RangeCharge()
	if w.Kind == Data {
		room = end - off
		w.Data = []byte(strings.Repeat(name[len(name)-1:], int(room)))
	}
	if w.Keep && !p.l.Reserve(room) {
		p.say("no room")
		return nil
	}
	if w.Keep && w.Kind == Data {
		p.l.Attach(w, p.l.Buffer(w.Data[:room:room]))
	}
	p.tags[name] = p.c.Tag()
	if p.c.Holds(p.tags[name]) {
		p.say("%s is held", name)
	}
	p.l.Begin(w)
	if w.state == waiting {
		p.say("%s waits for its blocks", name)
	}
	return nil
}

func (p *player) write(verb, name string, f []string) error {
	w := p.writes[name]
	if w == nil && verb == "abandon" {
		w = p.find(name)
	}
	if w == nil {
		return fmt.Errorf("no write %s was given out", name)
	}
	if verb != "sent" {
		delete(p.writes, name)
	}
	switch verb {
	case "sent":
		slot, err := strconv.Atoi(f[len(f)-1])
		if err != nil {
			return err
		}
		p.l.Sent(w, slot)
		return nil
	case "answered":
		p.l.Answered(w)
	case "unknown":
		p.l.Unknown(w, len(f) == 0)
	case "again":
		p.l.Again(w)
	case "refused":
		p.l.Refused(w)
	case "abandon":
		p.l.Abandon(w)
	case "discard":
		if !w.Dropped() {
			return fmt.Errorf("%s was not dropped", name)
		}
		p.l.Discard(w)
	}
	p.c.Step()
	return nil
}

// find looks for a write that waits in the ledger.
func (p *player) find(name string) *Write {
	for _, w := range p.l.Unanswered() {
		if w.Owner == name {
			return w
		}
	}
	return nil
}

func (p *player) flush(name string, f []string) error {
	fl := &Flush{Owner: name, Scope: All, Moves: p.l.Moves()}
	for i, word := range f {
		switch word {
		case "background":
			fl.Background = true
		case "of":
			fl.Scope = 0
			for _, s := range strings.Split(f[i+1], ",") {
				n, err := strconv.Atoi(s)
				if err != nil {
					return err
				}
				fl.Scope |= 1 << n
			}
		}
	}
	p.c.Flush(fl)
	return nil
}

func (p *player) sync(verb, name string) error {
	y, ok := p.syncs[name]
	if !ok {
		return fmt.Errorf("no SYNC %s", name)
	}
	switch verb {
	case "synced":
		p.c.Synced(y)
	case "refused-sync":
		p.c.Refused(y)
	case "aborted":
		p.c.Aborted(y)
	case "retry":
		p.c.Retry(y)
	}
	return nil
}

func (p *player) slot(verb, arg string) error {
	n := 0
	if arg != "" {
		var err error
		if n, err = strconv.Atoi(arg); err != nil {
			return err
		}
	}
	switch verb {
	case "fresh":
		p.say("%v", p.c.Fresh(n))
	case "up":
		p.l.Up(n)
	case "lost":
		p.l.Lost(n)
	case "fenced":
		p.l.Fenced(n)
	case "dirty":
		p.l.MarkDirty(n)
	case "changed":
		p.l.Changed(n)
	case "rest", "work":
		p.l.Rest(n, verb == "rest")
	case "standby":
		p.l.Standby(n)
	case "settled":
		p.l.Settled(n)
	case "lose":
		p.l.Lose(n)
	case "cache-lost":
		p.l.CacheLost()
	case "drop-copies":
		p.l.DropCopies()
	default:
		return fmt.Errorf("what is %s", verb)
	}
	p.c.Step()
	return nil
}

// events tells what the last command brought about.
func (p *player) events() []string {
	for o := p.l.Acknowledged(); o != nil; o = p.l.Acknowledged() {
		p.say("%v is acknowledged", o)
	}
	for w := p.l.Ready(); w != nil; w = p.l.Ready() {
		name, _ := w.Owner.(string)
		if w.Replay {
			p.copies++
			name = fmt.Sprintf("r%d", p.copies)
			p.say("%s is ready: the copy of %s", name, content(w))
		} else {
			p.say("%s is ready", name)
		}
		p.writes[name] = w
	}
	for f := p.c.Completed(); f != nil; f = p.c.Completed() {
		if f.Err != nil {
			p.say("%v fails: %v", f.Owner, f.Err)
		} else {
			p.say("%v is done", f.Owner)
		}
	}
	for b := p.l.Released(); b != nil; b = p.l.Released() {
		p.say("memory of w%c comes back", b[0])
	}
	told := p.told
	p.told = nil
	return told
}

// content says what a copy holds: data is the last letter of its write's name.
func content(w *Write) string {
	what := []string{"data", "zeroes", "a trim"}[w.Kind]
	if w.Kind == Data {
		what = fmt.Sprintf("w%c", w.Data[0])
	}
	return fmt.Sprintf("%s at %d-%d", what, w.Off, w.End)
}

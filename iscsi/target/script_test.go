package target

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestScriptErrorsNameTheLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"cut all", "line 1: a line begins with `at TIME`, not \"cut\""},
		{"at 1s cut", "line 1: \"\" is neither `portal N` nor `all`"},
		{"\n# x\nat 1s cut portal 0", "line 3: \"0\" is no portal: they count from 1"},
		{"at 1 cut all", "line 1: \"1\" is no time, such as 500ms or 2s"},
		{"at -1s cut all", "line 1: \"-1s\" is no time, such as 500ms or 2s"},
		{"at 1s fly", "line 1: \"fly\" is no fault"},
		{"at 1s cut all for 3s now", "line 1: \"now\" is not understood"},
		{"at 1s cut all off for 3s", "line 1: cut takes no `for`"},
		{"at 1s restart lose-cache for 3s", "line 1: restart takes no `for`"},
		{"at 1s delay all 5ms..1ms", "line 1: 5ms..1ms ends before it begins"},
		{"at 1s delay all 5ms syncs", "line 1: \"syncs\" is not understood"},
		{"at 1s restart", "line 1: \"\" is none of keep-cache, lose-cache, lose-some"},
		{"at 1s full temporary", "line 1: \"\" is no count of logins"},
		{"at 1s refuse x all busy", "line 1: \"x\" is no count of commands"},
		{"at 1s refuse 1 all maybe", "line 1: \"maybe\" is no answer to a command"},
		{"at 1s refuse 1 syncs busy", "line 1: \"syncs\" is none of all, reads, writes, flushes"},
		{"at 1s access 1 odd", "line 1: \"odd\" is no access state"},
		{"at 1s capacity 1 many", "line 1: \"many\" is no count of blocks"},
		{"at 1s write-protect 99999", "line 1: \"99999\" is no LUN"},
		{"at 1s full never 3", "line 1: \"never\" is neither `temporary` nor `resources`"},
		{"at 1s every 1us lose-cache", "line 1: every 1µs is too often"},
	} {
		if _, err := ParseScript(c.text); err == nil || err.Error() != c.want {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
}

// A script is played, and what the target's state is at some times is noted.
func TestScriptPlays(t *testing.T) {
	s, err := ParseScript(`
		# all that can be said
		at 2s  cut portal 1 for 3s
		at 1s  blackhole portal 2
		at 3s  blackhole portal 2 off
		at 4s  stall all for 1s
		at 1s  delay portal 3 1ms..2ms for 2s
		at 6s  execute-late 1s..2s for 1s
		at 6s  no-abort for 500ms
		at 7s  full resources 3
		at 8s  restart lose-cache half-open down 1s
		at 10s every 2s cut portal 1 for 1s
	`)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, Config{})
	b.now = time.Hour
	b.t.Play(b.now, s)
	state := func() string {
		var x []string
		for i, p := range b.t.portals {
			for _, f := range []struct {
				on   bool
				what string
			}{{p.cut, "cut"}, {p.blackhole, "hole"}, {p.stall, "stall"}, {p.delayMax > 0, "delay"}} {
				if f.on {
					x = append(x, fmt.Sprint(f.what, i+1))
				}
			}
		}
		f := &b.t.faults
		if f.late {
			x = append(x, "late")
		}
		if f.noAbort {
			x = append(x, "no-abort")
		}
		if f.refusals > 0 {
			x = append(x, fmt.Sprint("refuse", f.refusals))
		}
		if b.now < f.downUntil {
			x = append(x, "down")
		}
		return strings.Join(x, " ")
	}
	half := 500 * time.Millisecond
	for i, want := range []string{
		"", "", "hole2 delay3", "hole2 delay3", "cut1 hole2 delay3", "cut1 hole2 delay3",
		"cut1", "cut1", "cut1 stall1 stall2 stall3", "cut1 stall1 stall2 stall3", "", "",
		"late no-abort", "late", "refuse3", "refuse3", "refuse3 down", "refuse3 down", "refuse3",
		"refuse3", "cut1 refuse3", "cut1 refuse3", "refuse3", "refuse3", "cut1 refuse3",
	} {
		b.t.Tick(b.now)
		if got := state(); got != want {
			t.Errorf("at %v: %q, want %q", time.Duration(i)*half, got, want)
		}
		b.now += half
	}
}

// Faults that are given one by one do not end each other.
func TestScriptsPlaySideBySide(t *testing.T) {
	b := newBench(t, Config{})
	for _, text := range []string{"at 0s cut portal 1 for 2s", "at 0s cut portal 2 for 2s"} {
		s, err := ParseScript(text)
		if err != nil {
			t.Fatal(err)
		}
		b.t.PlayAlso(b.now, s)
		b.advance(time.Second)
	}
	b.advance(500 * time.Millisecond)
	if p := b.t.portals; p[0].cut || !p[1].cut {
		t.Errorf("cut: %v %v", p[0].cut, p[1].cut)
	}
	if b.advance(time.Second); b.t.portals[1].cut || b.t.script.deadline() != Never {
		t.Error("it does not end")
	}
}

func FuzzParseScript(f *testing.F) {
	f.Add("at 1s cut portal 1 for 3s\nat 2s every 1s delay all 1ms..5ms for 10ms")
	f.Add("at 5s restart lose-some half-open down 1s\nat 0s full temporary 9")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScript(text)
		if err != nil {
			return
		}
		b := newBench(t, Config{})
		b.t.Play(0, s)
		for range 100 {
			d := b.t.Deadline()
			if d == Never || d > time.Hour {
				break
			}
			b.t.Tick(d)
		}
	})
}

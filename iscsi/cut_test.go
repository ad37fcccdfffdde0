package iscsi

import (
	"fmt"
	"strings"
	"testing"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
)

// reject answers the login of the connection that is being made.
func (r *rig) reject(code uint16) string {
	r.t.Helper()
	p := r.accept()[0]
	m := p.one()
	p.send(pdu.LoginResponse{ITT: m.h.ITT(), StatusClass: uint8(code >> 8),
		StatusDetail: uint8(code)}, nil)
	return p.c.Address()
}

// cutState is what the session tells of itself.
func (r *rig) cutState() string {
	cut, refused := r.s.Cut()
	since, silent := r.s.Silent()
	switch {
	case cut != silent || refused && !cut || cut && !r.s.Recovering():
		r.t.Errorf("cut %v, refused %v, silent %v", cut, refused, silent)
	case r.s.Recovering() && !cut:
		return "recovering"
	case cut && refused:
		return fmt.Sprintf("cut since %v, refused", since)
	case cut:
		return fmt.Sprintf("cut since %v", since)
	}
	return r.peers[len(r.peers)-1].c.State()
}

// TestCut: a session without a connection says so, and that it is refused when every portal
// was tried, until one lets it in. It is recovering until its tasks are moved.
func TestCut(t *testing.T) {
	steps := map[string]func(r *rig) string{
		"a is lost": func(r *rig) string { r.peers[0].cut(); return "" },
		"b is lost": func(r *rig) string { r.peers[1].cut(); return "" },
		"a while":   func(r *rig) string { r.sleep(2 * second); return "" },
		"refused":   func(r *rig) string { return strings.Join(r.refuse(), " ") },
		"rejected":  func(r *rig) string { return r.reject(login.StatusNotFound) },
		"too many":  func(r *rig) string { return r.reject(login.StatusTooManyConnections) },
		"dialled":   func(r *rig) string { return r.accept()[0].c.Address() },
		"let in":    func(r *rig) string { r.peers[len(r.peers)-1].logIn(); return "" },
	}
	for _, c := range []struct {
		name    string
		portals int
		script  string
	}{
		{"nobody listens", 1, `
			a is lost  -> cut since 0s
			a while  -> cut since 0s
			refused a:1 -> cut since 0s, refused
			a while  -> cut since 0s, refused
			dialled a:1 -> cut since 0s, refused
			let in  -> recovering`},
		{"the login is rejected", 1, `
			a is lost  -> cut since 0s
			a while  -> cut since 0s
			rejected a:1 -> cut since 0s, refused`},
		{"the target counts the lost connection", 1, `
			a is lost  -> cut since 0s
			a while  -> cut since 0s
			too many a:1 -> cut since 0s
			too many a:1 -> cut since 0s, refused`},
		{"one after the other is lost", 2, `
			a is lost  -> recovering
			a while  -> recovering
			b is lost  -> cut since 2s
			a while  -> cut since 2s
			refused a:1 -> cut since 2s
			refused b:1 -> cut since 2s, refused
			a while  -> cut since 2s, refused
			dialled b:1 -> cut since 2s, refused
			let in  -> recovering`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newUp(t, c.portals, level2)
			var got strings.Builder
			for line := range strings.Lines(c.script) {
				for step, do := range steps {
					if strings.HasPrefix(strings.TrimSpace(line), step) {
						fmt.Fprintf(&got, "\n\t\t\t%s %s", step, do(r))
						r.s.Tick(r.now)
						fmt.Fprintf(&got, " -> %s", r.cutState())
					}
				}
			}
			if got.String() != c.script {
				t.Errorf("it went%s\nand not%s", &got, c.script)
			}
		})
	}
}

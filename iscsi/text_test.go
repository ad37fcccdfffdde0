package iscsi

import (
	"reflect"
	"strings"
	"testing"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
)

func discovery(c *Config, _ *login.TargetConfig) {
	c.Offer.Discovery, c.Offer.TargetName = true, ""
}

func (p *peer) text(itt, ttt uint32, text string) {
	a := pdu.TextResponse{Final: ttt == pdu.ReservedTag, Continue: ttt != pdu.ReservedTag, ITT: itt,
		TTT: ttt, StatSN: p.sn(), DataLen: len(text)}
	a.ExpCmdSN, a.MaxCmdSN = p.window()
	p.send(a, []byte(text))
}

// The answer comes in three parts, the cuts where they please.
func TestSendTargets(t *testing.T) {
	r := newRig(t, 1, func(c *Config, tc *login.TargetConfig) {
		discovery(c, tc)
		c.NopInterval = second
	})
	r.s.SendTargets(r.now, "")
	p := r.accept()[0]
	p.logIn()
	m := p.one()
	if got := line(&m.h) + " " + string(m.data); got !=
		"Text Request F tag=1 ttt=ffffffff cmdsn=1 data=16 SendTargets=All\x00" {
		t.Errorf("asked %q", got)
	}
	r.sleep(2 * second) // no NOP-Out in a discovery session
	p.text(1, 0x55, "TargetName=iqn.2026-01.a:1\x00TargetAddress=10.0.0.1:3260,1\x00Target")
	p.expect(`Text Request F tag=1 ttt=55 cmdsn=2`)
	p.text(1, 0x56, "Address=[fe80::1],2\x00TargetName=iqn.2026-01.a:2")
	p.expect(`Text Request F tag=1 ttt=56 cmdsn=3`)
	if _, done := r.s.Targets(); done {
		t.Error("done too early")
	}
	p.text(1, pdu.ReservedTag, "\x00TargetName=eui.0123456789abcdef\x00"+
		"TargetAddress=a b\x00TargetAddress=host:99\x00")
	list, done := r.s.Targets()
	want := []TargetRecord{
		{"iqn.2026-01.a:1", []Portal{{"10.0.0.1:3260", 1}, {"[fe80::1]:3260", 2}}},
		{"iqn.2026-01.a:2", []Portal{{"a:1", -1}}},
		{"eui.0123456789abcdef", []Portal{{"host:99", -1}}},
	}
	if !done || !reflect.DeepEqual(list, want) {
		t.Errorf("%v %+v", done, list)
	}
	r.s.Logout(r.now)
	p.expect(`Logout Request I F tag=2 reason=0 cmdsn=4`)
	p.logoutAnswer(2, pdu.LogoutSuccess)
	r.s.SendTargets(r.now, "")
	if r.s.tasks.inUse() != 0 {
		t.Error("tasks are left")
	}
}

func TestSendTargetsFails(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(r *rig, p *peer)
		want string
	}{
		{"not key=value", func(_ *rig, p *peer) {
			p.text(1, pdu.ReservedTag, "what")
		}, "not key=value"},
		{"address first", func(_ *rig, p *peer) {
			p.text(1, pdu.ReservedTag, "TargetAddress=10.0.0.1\x00")
		}, "an address before any target"},
		{"bad name", func(_ *rig, p *peer) {
			p.text(1, pdu.ReservedTag, "TargetName=x y\x00")
		}, "target name"},
		{"wrong tag", func(_ *rig, p *peer) {
			p.text(9, pdu.ReservedTag, "")
		}, "no Text Request has this tag"},
		{"neither final nor TTT", func(_ *rig, p *peer) {
			a := pdu.TextResponse{ITT: 1, TTT: pdu.ReservedTag, StatSN: p.sn()}
			p.send(a, nil)
		}, "neither final"},
		{"no answer", func(r *rig, _ *peer) {
			r.sleep(15 * second)
		}, "no answer to Text Request within 15s"},
		{"endless", func(r *rig, p *peer) {
			part := strings.Repeat("x", 8000)
			for i := uint32(0); r.s.Err() == nil && i < 10000; i++ {
				p.text(1, i, part)
				p.take()
			}
			if n := len(r.s.text.answer); n > maxText {
				r.t.Errorf("%d bytes were kept", n)
			}
		}, "too long"},
		{"endless and empty", func(r *rig, p *peer) {
			for i := uint32(0); r.s.Err() == nil && i < 10000; i++ {
				p.text(1, i, "")
				p.take()
			}
		}, "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 1, discovery)
			p := r.accept()[0]
			p.logIn()
			r.s.SendTargets(r.now, "All")
			p.take()
			c.do(r, p)
			r.dead(c.want)
		})
	}
}

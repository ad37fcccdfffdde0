package target

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

func TestLoginIsRefused(t *testing.T) {
	secrets := func(user string) ([]byte, bool) { return []byte("0123456789ab"), user == "u" }
	for _, c := range []struct {
		what  string
		offer func(o *login.Offer)
		want  uint16
	}{
		{"no CHAP", func(*login.Offer) {}, login.StatusAuthFailure},
		{"CHAP", func(o *login.Offer) {
			o.Auth = login.Auth{User: "u", Secret: []byte("0123456789ab")}
		}, login.StatusSuccess},
		{"mutual CHAP", func(o *login.Offer) {
			o.Auth = login.Auth{User: "u", Secret: []byte("0123456789ab"),
				MutualUser: "t", MutualSecret: []byte("ba9876543210")}
		}, login.StatusSuccess},
		{"wrong secret", func(o *login.Offer) {
			o.Auth = login.Auth{User: "u", Secret: []byte("0123456789ax")}
		}, login.StatusAuthFailure},
		{"unknown user", func(o *login.Offer) {
			o.Auth = login.Auth{User: "v", Secret: []byte("0123456789ab")}
		}, login.StatusAuthFailure},
		{"another target", func(o *login.Offer) {
			o.Auth = login.Auth{User: "u", Secret: []byte("0123456789ab")}
			o.TargetName = testName + "x"
		}, login.StatusNotFound},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := newBench(t, Config{
				RequireCHAP: true, Secrets: secrets, CHAPRand: rand.Reader,
				MutualUser: "t", MutualSecret: []byte("ba9876543210"),
			})
			p := b.connect(0)
			o := offer("a")
			c.offer(&o)
			p.login(o, 1, 0, 1)
			got := uint16(p.resp.StatusClass)<<8 | uint16(p.resp.StatusDetail)
			if got != c.want || p.dead != (c.want != 0) {
				t.Errorf("status %04x, want %04x; dead: %v", got, c.want, p.dead)
			}
		})
	}
}

func TestLoginSettlesTheTargetsLimits(t *testing.T) {
	b := newBench(t, Config{
		MaxBurstLength: 64 << 10, FirstBurstLength: 16 << 10, MaxRecvDataSegmentLength: 8 << 10,
		MaxConnections: 3, MaxOutstandingR2T: 2, InitialR2T: true, NoImmediateData: true,
		DataDigest: login.DigestCRC32C, DefaultTime2Retain: 7, Alias: "x",
	})
	p := b.session("a", 2, 1)
	want := login.DefaultParams()
	want.MaxBurstLength, want.FirstBurstLength = 64<<10, 16<<10
	want.MaxRecvDataSegmentLength, want.MaxXmitDataSegmentLength = 256<<10, 8<<10
	want.MaxConnections, want.MaxOutstandingR2T, want.ImmediateData = 3, 2, false
	want.DataDigest, want.DefaultTime2Wait, want.DefaultTime2Retain = true, 0, 7
	want.TargetPortalGroupTag, want.TargetAlias = 2, "x"
	if p.par != want {
		t.Errorf("%+v\nwant %+v", p.par, want)
	}
}

func TestNumbersOfALogin(t *testing.T) {
	b := newBench(t, Config{QueueDepth: 16})
	p := b.connect(0)
	p.cmdSN = 0xfffffffe // wraps soon
	if err := p.login(offer("a"), 1, 0, 1); err != nil {
		t.Fatal(err)
	}
	r := p.resp
	if r.ExpCmdSN != 0xfffffffe || r.MaxCmdSN != 13 || r.TSIH == 0 {
		t.Errorf("%+v", r)
	}
	next := r.StatSN + 1
	for i := range 6 {
		list := p.ask(p.command(scsi.TestUnitReady(), nil, 0), nil)
		if len(list) != 1 || list[0].StatSN() != next || list[0].ExpCmdSN() != 0xffffffff+uint32(i) {
			t.Fatalf("%d: StatSN %d, ExpCmdSN %d", i, list[0].StatSN(), list[0].ExpCmdSN())
		}
		next++
	}
}

func TestSendTargets(t *testing.T) {
	var portals []PortalConfig
	for i := range 60 {
		address := fmt.Sprintf("[fe80::%x]:3260", i)
		portals = append(portals, PortalConfig{Address: address, Group: 1 + i%2})
	}
	b := newBench(t, Config{Portals: portals})
	o := offer("a")
	o.Discovery, o.TargetName = true, ""
	o.MaxRecvDataSegmentLength = 512 // so that the answer takes several PDUs
	p := b.connect(0)
	if err := p.login(o, 1, 0, 1); err != nil {
		t.Fatal(err)
	}
	text, pdus := p.text(t, "SendTargets=All\x00X-com.example.y=1\x00")
	if pdus < 3 {
		t.Errorf("only %d PDUs", pdus)
	}
	pairs, err := login.ParseText([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(pairs) != 62 || pairs[0] != (login.Pair{Key: "TargetName", Value: testName}) ||
		pairs[60].Value != "[fe80::3b]:3260,2" || pairs[61].Value != "NotUnderstood" {
		t.Errorf("%d pairs: %v", len(pairs), pairs)
	}
	if text, _ := p.text(t, "SendTargets=iqn.2026-01.test.other:x\x00"); text != "" {
		t.Errorf("a target that is not here: %q", text)
	}
	// A SCSI command has no place in a discovery session.
	list := p.ask(p.command(scsi.TestUnitReady(), nil, 0), nil)
	if len(list) != 1 || list[0].Opcode() != pdu.OpReject {
		t.Error(describe(list))
	}
}

// text does a whole text exchange.
func (p *peer) text(t *testing.T, request string) (answer string, pdus int) {
	t.Helper()
	r := pdu.TextRequest{
		Final: true, ITT: 5, TTT: pdu.ReservedTag, CmdSN: p.cmdSN, DataLen: len(request),
	}
	var all strings.Builder
	for {
		list := p.ask(r, []byte(request))
		p.cmdSN++
		if len(list) != 1 {
			t.Fatal(describe(list))
		}
		x, err := pdu.ParseTextResponse(&list[0].Header)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(list[0].data)
		pdus++
		if x.Final {
			return all.String(), pdus
		}
		r.TTT, r.CmdSN, r.DataLen, request = x.TTT, p.cmdSN, 0, ""
	}
}

func TestConfigIsChecked(t *testing.T) {
	ok := func() Config {
		return Config{
			Name: testName, Portals: []PortalConfig{{Address: "x:1", Group: 1}},
			LUNs: []LUNConfig{{Store: newRAM(t, 4096)}},
		}
	}
	if _, err := New(0, ok()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what   string
		change func(c *Config)
	}{
		{"name", func(c *Config) { c.Name = "disk" }},
		{"no portal", func(c *Config) { c.Portals = nil }},
		{"portal group", func(c *Config) { c.Portals[0].Group = 65536 }},
		{"level", func(c *Config) { c.ErrorRecoveryLevel = 3 }},
		{"first burst", func(c *Config) { c.MaxBurstLength, c.FirstBurstLength = 512, 1024 }},
		{"LUN twice", func(c *Config) { c.LUNs = append(c.LUNs, c.LUNs[0]) }},
		{"no store", func(c *Config) { c.LUNs[0].Store = nil }},
		{"block size", func(c *Config) { c.LUNs[0].BlockSize = 520 }},
		{"CHAP without secrets", func(c *Config) { c.RequireCHAP = true }},
	} {
		cfg := ok()
		c.change(&cfg)
		if _, err := New(0, cfg); err == nil {
			t.Errorf("%s: no error", c.what)
		}
	}
}

package target

import (
	"encoding/hex"
	"strings"
	"testing"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
	"braid/iscsi/scsi"
)

// numbered makes the numbers of a connection known: StatSN 11223344h from now on.
func numbered(p *peer) {
	p.c.statSN, p.c.acked, p.stat = 0x11223344, 0x11223344, 0x11223344
	p.b.t.lastTTT = 0x50
}

// The answers of error recovery as bytes, written by hand after the figures of RFC
// 7143 section 11. CmdSN is 64h at first, 128 commands fit into the window.
func TestRecoveryOnTheWire(t *testing.T) {
	b, p := recovering(t, Config{DataDigest: login.DigestCRC32C, ErrorRecoveryLevel: 2,
		DefaultTime2Wait: 3, DefaultTime2Retain: 10, MaxRecvDataSegmentLength: 2048})
	numbered(p)
	p.itt = 0x20
	expect := func(what string, list []got, want ...string) {
		t.Helper()
		if len(list) != len(want) {
			t.Fatalf("%s: %s", what, p.notes(list))
		}
		for i, w := range want {
			w = strings.Join(strings.Fields(w), "")
			if h := hex.EncodeToString(append(list[i].Header[:], list[i].data...)); h != w {
				t.Errorf("%s %d:\ngot  %s\nwant %s", what, i, h, w)
			}
		}
	}
	c := p.command(scsi.Write16(0, 2, false), pattern(1, 1024), 0)
	c.DataLen = 0
	list := p.ask(c, nil)
	expect("R2T, 11.8", list, `31800000 00000000 00000000 00000000 00000020 00000051
		11223344 00000065 000000e3 00000000 00000000 00000400`)
	list = p.pieces(c.ITT, list[0].TTT(), pattern(1, 1024), piece{n: 512},
		piece{sn: 1, offset: 512, n: 512, final: true, damaged: true})
	expect("Reject of Data-Out, 11.17, and recovery R2T", list,
		`3f800200 00000030 00000000 00000000 ffffffff 00000000
		11223344 00000065 000000e3 00000000 00000000 00000000
		05800000 00000200 00000000 00000000 00000020 00000051
		00000000 11223344 00000000 00000001 00000200 00000000`,
		`31800000 00000000 00000000 00000000 00000020 00000052
		11223345 00000065 000000e3 00000001 00000200 00000200`)
	list = p.pieces(c.ITT, list[1].TTT(), pattern(1, 1024), piece{offset: 512, n: 512, final: true})
	expect("SCSI Response with ExpDataSN, 11.4", list,
		`21800000 00000000 00000000 00000000 00000020 00000000
		11223345 00000065 000000e4 00000002 00000000 00000000`)
	p.stat = 0x11223346
	read := p.command(scsi.Read16(0, 1, false), nil, 512)
	p.ask(read, nil)
	anew := snack(pdu.SNACKRData, read.ITT, 0, 0)
	anew.TTT, anew.ExpStatSN = 0x77, p.stat
	list = p.ask(anew, nil)
	expect("R-Data: SCSI Response with a SNACK tag, 11.16.3", list[1:],
		`21800000 00000000 00000000 00000000 00000021 00000077
		11223346 00000066 000000e5 00000001 00000000 00000000`)
	expect("SNACK for what was not sent: Reject with the next DataSN",
		p.snack(pdu.SNACKData, read.ITT, 1, 1),
		`3f800400 00000030 00000000 00000000 ffffffff 00000000
		11223347 00000066 000000e5 00000001 00000000 00000000
		10800000 00000000 00000000 00000000 00000021 ffffffff
		00000000 11223346 00000000 00000000 00000001 00000001`)

	two := b.recovering("a", 1, p.resp.TSIH, 2)
	numbered(two)
	two.cmdSN = p.cmdSN
	p.dies()
	list = append(two.flush(), two.logout(pdu.LogoutRemoveForRecovery, 1)...)
	expect("Asynchronous Message, 11.9, Logout Response, 11.15", list,
		`32800000 00000000 00000000 00000000 ffffffff 00000000
		11223344 00000066 000000e5 02000001 0003000a 00000000`,
		`26800000 00000000 00000000 00000000 00000384 00000000
		11223345 00000066 000000e5 00000000 0003000a 00000000`)
	expect("TASK REASSIGN, 11.6: the tag is gone", two.reassign(read.ITT, 1),
		`22800000 00000000 00000000 00000000 00000385 00000000
		11223346 00000066 000000e5 00000000 00000000 00000000`,
		`21800000 00000000 00000000 00000000 00000021 00000000
		11223347 00000066 000000e5 00000001 00000000 00000000`)
}

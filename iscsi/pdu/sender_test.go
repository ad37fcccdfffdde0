package pdu_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"

	"braid/iscsi/pdu"
)

// outgoing is a Sender with what the test says must be in it.
type outgoing struct {
	s       *pdu.Sender
	headers bool
	data    bool
	begun   []byte       // rest of the PDU that was begun
	queues  [2][]out     // those not begun, by class
	offer   []byte       // what Buffers gave and Sent has not been told of
	plan    []out        // PDUs in the order of the last offer, without the begun one
	gone    []pdu.Ticket // PDUs that have left since the last check
	now     out          // the PDU that was begun
}

type out struct {
	wire   []byte
	data   int // bytes of data segment
	class  pdu.Class
	ticket pdu.Ticket
}

func newOutgoing(headers, data bool) *outgoing {
	o := &outgoing{s: pdu.NewSender(), headers: headers, data: data}
	o.s.SetDigests(headers, data)
	return o
}

func (o *outgoing) push(s sample, class pdu.Class) {
	ticket := o.s.Push(&s.header, s.data, class)
	o.queues[class] = append(o.queues[class],
		out{s.encode(nil, o.headers, o.data), len(s.data), class, ticket})
}

// buffers takes an offer and compares it with what must come.
func (o *outgoing) buffers() error {
	slices := o.s.Buffers(nil)
	o.offer = nil
	for _, b := range slices {
		if len(b) == 0 {
			return fmt.Errorf("an empty slice")
		}
		o.offer = append(o.offer, b...)
	}
	if len(slices) > pdu.MaxSlices {
		return fmt.Errorf("%d slices", len(slices))
	}
	want := bytes.Clone(o.begun)
	o.plan = append(append([]out(nil), o.queues[pdu.Urgent]...), o.queues[pdu.Bulk]...)
	for _, p := range o.plan {
		want = append(want, p.wire...)
	}
	if !bytes.HasPrefix(want, o.offer) {
		return fmt.Errorf("offered bytes differ from those queued")
	}
	if len(o.offer) < len(want) && len(slices) < pdu.MaxSlices-2 {
		return fmt.Errorf("%d slices only, and not all", len(slices))
	}
	return nil
}

// sent tells the sender that n bytes are gone, and does the same to the model.
func (o *outgoing) sent(n int) {
	o.s.Sent(n)
	o.offer = nil
	for n > 0 {
		if len(o.begun) == 0 {
			o.now, o.plan = o.plan[0], o.plan[1:]
			o.begun = o.now.wire
			o.queues[o.now.class] = o.queues[o.now.class][1:]
		}
		k := min(n, len(o.begun))
		o.begun = o.begun[k:]
		n -= k
		if len(o.begun) == 0 {
			o.gone = append(o.gone, o.now.ticket)
		}
	}
}

// check compares the counts.
func (o *outgoing) check() error {
	length, payload := 0, 0
	waiting := append(append([]out(nil), o.queues[0]...), o.queues[1]...)
	for _, p := range waiting {
		length++
		payload += p.data
		if o.s.Gone(p.ticket) {
			return fmt.Errorf("a PDU not begun is gone")
		}
	}
	if rest := len(o.begun); rest > 0 {
		length++
		head := 48
		if o.headers {
			head += 4
		}
		done := min(max(len(o.now.wire)-rest-head, 0), o.now.data)
		payload += o.now.data - done
		if o.s.Gone(o.now.ticket) {
			return fmt.Errorf("the PDU begun is gone")
		}
	}
	for _, t := range o.gone {
		if !o.s.Gone(t) {
			return fmt.Errorf("a PDU that has left is not gone")
		}
	}
	o.gone = append(o.gone[:0], pdu.Ticket{})
	if o.s.Len() != length || o.s.Payload() != payload {
		return fmt.Errorf("Len %d, want %d; Payload %d, want %d",
			o.s.Len(), length, o.s.Payload(), payload)
	}
	return nil
}

// PDUs of random sizes are pushed and taken in random pieces, also pushed between
// an offer and its end.
func TestSenderAgainstModel(t *testing.T) {
	rnd := testRand(t)
	for digests := range 4 {
		o := newOutgoing(digests&1 != 0, digests&2 != 0)
		tag := uint32(0)
		push := func() {
			for range rnd.IntN(1 << rnd.IntN(6)) {
				tag++
				size := 0
				if rnd.IntN(2) == 0 {
					size = rnd.IntN(1 << rnd.IntN(13))
				}
				o.push(dataIn(tag, size), pdu.Class(rnd.IntN(2)))
			}
		}
		fail := func(err error) {
			if err != nil {
				t.Fatalf("digests %d, %d pushed: %v", digests, tag, err)
			}
		}
		for range 1000 {
			if o.s.Len() < 200 {
				push()
			}
			fail(o.buffers())
			if offer := bytes.Clone(o.offer); len(offer) > 0 {
				given := o.s.Buffers(nil)
				push()
				if !bytes.Equal(slices.Concat(given...), offer) {
					t.Fatal("an offer changed after it was given")
				}
				o.sent(min(rnd.IntN(1<<rnd.IntN(18)), len(offer)))
			}
			fail(o.check())
		}
		for range 200 {
			fail(o.buffers())
			o.sent(len(o.offer))
			fail(o.check())
		}
		if o.s.Len() != 0 || o.s.Payload() != 0 || len(o.s.Buffers(nil)) != 0 {
			t.Fatalf("%d PDUs are left", o.s.Len())
		}
	}
}

// transcript runs a script against a sender and writes down what leaves. Words:
// u or b with a tag pushes an urgent or bulk PDU of 100 bytes, a number takes so
// many bytes of the offer, "all" the whole offer, "offer" takes one and leaves it.
func transcript(script string) string {
	s := pdu.NewSender()
	var line []string
	var offer [][]byte
	for word := range strings.FieldsSeq(script) {
		var tag, n int
		switch {
		case word == "all":
			n = len(slices.Concat(s.Buffers(nil)...))
			line = append(line, tags(s.Buffers(nil)))
			s.Sent(n)
		case word == "offer":
			offer = s.Buffers(nil)
		case scan(word, "u%d", &tag):
			d := dataIn(uint32(tag), 100)
			s.Push(&d.header, d.data, pdu.Urgent)
		case scan(word, "b%d", &tag):
			d := dataIn(uint32(tag), 100)
			s.Push(&d.header, d.data, pdu.Bulk)
		case scan(word, "%d", &n):
			if offer == nil {
				offer = s.Buffers(nil)
			}
			line = append(line, fmt.Sprintf("%d of %s", n, tags(offer)))
			s.Sent(n)
			offer = nil
		default:
			panic("bad word " + word)
		}
	}
	return strings.Join(line, "; ")
}

func scan(word, format string, to *int) bool {
	_, err := fmt.Sscanf(word, format, to)
	return err == nil
}

// tags names the PDUs of an offer by their tags; "-" is the rest of one without
// its header.
func tags(offer [][]byte) string {
	var out []string
	for i, b := range offer {
		switch {
		case len(b) == pdu.HeaderLen:
			h := pdu.Header(b)
			out = append(out, fmt.Sprint(h.ITT()))
		case i == 0:
			out = append(out, "-")
		}
	}
	return strings.Join(out, " ")
}

func TestSenderOrder(t *testing.T) {
	for _, row := range []struct{ name, script, want string }{
		{"first in, first out", "b1 b2 b3 all", "1 2 3"},
		{"urgent ones first", "b1 u2 b3 u4 all", "2 4 1 3"},
		{"but not into one begun", "b1 b2 10 u3 all", "10 of 1 2; - 3 2"},
		{"nor into its data", "b1 b2 60 u3 all", "60 of 1 2; - 3 2"},
		{"an urgent one begun", "u1 10 u2 b3 all", "10 of 1; - 2 3"},
		{"as was offered", "b1 offer u2 148 all", "148 of 1; 2"},
		{"begun as was offered", "b1 b3 offer u2 149 all", "149 of 1 3; - 2"},
		{"one whole, one begun", "u1 b2 b3 150 u4 all", "150 of 1 2 3; - 4 3"},
	} {
		if got := transcript(row.script); got != row.want {
			t.Errorf("%s: %q gives %q, want %q", row.name, row.script, got, row.want)
		}
	}
}

func TestSenderSlices(t *testing.T) {
	s := pdu.NewSender()
	s.SetDigests(true, true)
	for i := range 100 {
		d := dataIn(uint32(i), 5)
		s.Push(&d.header, d.data, pdu.Bulk)
	}
	before := make([][]byte, 7)
	got := s.Buffers(before)
	if len(got)-len(before) != 63 {
		t.Fatalf("%d slices, want 21 PDUs of 3", len(got)-len(before))
	}
	if len(got[7]) != 52 || len(got[8]) != 5 || len(got[9]) != 3+4 {
		t.Fatalf("a PDU of %d, %d and %d bytes", len(got[7]), len(got[8]), len(got[9]))
	}
}

// The payload is lent, not copied.
func TestSenderBorrows(t *testing.T) {
	s := pdu.NewSender()
	d := dataIn(1, 64)
	s.Push(&d.header, d.data, pdu.Bulk)
	d.header = pdu.Header{}
	got := s.Buffers(nil)
	if len(got) != 2 || &got[1][0] != &d.data[0] || got[0][0] != byte(pdu.OpDataIn) {
		t.Fatalf("%d slices", len(got))
	}
}

func TestSenderDrop(t *testing.T) {
	s := pdu.NewSender()
	var tickets []pdu.Ticket
	for i := range 40 {
		d := dataIn(uint32(i), 100)
		tickets = append(tickets, s.Push(&d.header, d.data, pdu.Class(i%2)))
	}
	s.Buffers(nil)
	s.Sent(200)
	s.Drop()
	if s.Len() != 0 || s.Payload() != 0 || len(s.Buffers(nil)) != 0 {
		t.Fatalf("%d PDUs are left", s.Len())
	}
	for i, ticket := range tickets {
		if !s.Gone(ticket) {
			t.Fatalf("PDU %d is not gone", i)
		}
	}
	d := dataIn(1, 8)
	ticket := s.Push(&d.header, d.data, pdu.Urgent)
	if got := s.Buffers(nil); s.Gone(ticket) || len(got) != 2 || len(got[0]) != 48 {
		t.Fatal("it does not work after Drop")
	}
}

// Nothing refers to a payload that has left or was dropped.
func TestSenderForgets(t *testing.T) {
	s := pdu.NewSender()
	push := func() weak.Pointer[byte] {
		d := dataIn(1, 4096)
		s.Push(&d.header, d.data, pdu.Bulk)
		return weak.Make(&d.data[0])
	}
	sent, dropped := push(), push()
	s.Buffers(nil)
	s.Sent(48 + 4096)
	runtime.GC()
	if sent.Value() != nil || dropped.Value() == nil {
		t.Fatalf("sent: held is %v; waiting: held is %v", sent.Value() != nil,
			dropped.Value() != nil)
	}
	s.Drop()
	runtime.GC()
	if dropped.Value() != nil {
		t.Fatal("a dropped payload is held")
	}
	runtime.KeepAlive(s)
}

func TestSenderOwnFaults(t *testing.T) {
	d := dataIn(1, 8)
	for name, f := range map[string]func(s *pdu.Sender){
		"lengths differ": func(s *pdu.Sender) { s.Push(&d.header, d.data[:7], pdu.Bulk) },
		"AHS": func(s *pdu.Sender) {
			h := d.withAHS(1).header
			s.Push(&h, d.data, pdu.Bulk)
		},
		"nothing offered": func(s *pdu.Sender) {
			s.Push(&d.header, d.data, pdu.Bulk)
			s.Sent(1)
		},
		"more than offered": func(s *pdu.Sender) {
			s.Push(&d.header, d.data, pdu.Bulk)
			s.Buffers(nil)
			s.Push(&d.header, d.data, pdu.Bulk)
			s.Sent(57)
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f(pdu.NewSender())
		})
	}
}

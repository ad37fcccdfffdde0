package scsi

import (
	"slices"
	"testing"
)

func TestReserveParameters(t *testing.T) {
	p := ReserveParameters{Key: 0x0102030405060708, ServiceKey: 0x1112131415161718,
		ThroughPowOff: true, AllPorts: true, SpecifyPorts: true}
	b := p.Append(nil)
	equal(t, string(b), string(unhex(t, "0102030405060708 1112131415161718 00000000 0d000000")))
	got, err := ParseReserveParameters(b)
	noError(t, err)
	equal(t, got, p)
	for _, n := range []int{0, 23, 25} {
		if _, err := ParseReserveParameters(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are no error", n)
		}
	}
}

func TestReserveKeys(t *testing.T) {
	b := AppendReserveKeys(nil, 7, []uint64{1, 1 << 63})
	equal(t, string(b), string(unhex(t, "00000007 00000010 0000000000000001 8000000000000000")))
	for _, c := range []struct {
		n     int
		want  []uint64
		whole bool
	}{{24, []uint64{1, 1 << 63}, true}, {23, []uint64{1}, false}, {8, nil, false}} {
		got, whole, err := ParseReserveKeys(nil, b[:c.n])
		if err != nil || whole != c.whole || !slices.Equal(got, c.want) {
			t.Errorf("%d bytes: %v %v %v", c.n, got, whole, err)
		}
	}
	if _, _, err := ParseReserveKeys(nil, b[:7]); err == nil {
		t.Error("7 bytes are no error")
	}
	// What lies behind the list is none of its keys.
	if got, whole, _ := ParseReserveKeys(nil, make([]byte, 32)); !whole || len(got) > 0 {
		t.Errorf("an empty list gives %v", got)
	}
}

func TestReservation(t *testing.T) {
	for _, r := range []Reservation{
		{Generation: 5},
		{Generation: 6, Held: true, Key: 0x1122334455667788, Type: ExclusiveAccessRegistrantsOnly},
	} {
		b := r.Append(nil)
		got, err := ParseReservation(b)
		noError(t, err)
		equal(t, got, r)
		if _, err := ParseReservation(b[:len(b)-1]); err == nil {
			t.Errorf("%+v cut off is no error", r)
		}
	}
}

func TestReserveTypes(t *testing.T) {
	for _, c := range []struct {
		t                                  ReserveType
		known, exclusive, registrants, all bool
	}{
		{t: 0}, {t: WriteExclusive, known: true}, {t: 2},
		{t: ExclusiveAccess, known: true, exclusive: true}, {t: 4},
		{t: WriteExclusiveRegistrantsOnly, known: true, registrants: true},
		{ExclusiveAccessRegistrantsOnly, true, true, true, false},
		{WriteExclusiveAllRegistrants, true, false, true, true},
		{ExclusiveAccessAllRegistrants, true, true, true, true},
	} {
		if c.t.Known() != c.known || c.known && (c.t.Exclusive() != c.exclusive ||
			c.t.Registrants() != c.registrants || c.t.AllRegistrants() != c.all) {
			t.Errorf("type %d", c.t)
		}
	}
}

func FuzzReserve(f *testing.F) {
	f.Add(AppendReserveKeys(nil, 7, []uint64{1, 2}))
	f.Add(Reservation{Held: true, Key: 1, Type: 5}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, _, _ := ParseReserveKeys(nil, b)
		if 8*len(keys) > len(b) {
			t.Error("more keys than bytes")
		}
		ParseReservation(b)
		ParseReserveParameters(b)
	})
}

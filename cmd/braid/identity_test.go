package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestISID(t *testing.T) {
	a := ISID("iqn.2001-04.com.example:host", "disk", 0)
	if a != ISID("iqn.2001-04.com.example:host", "disk", 0) {
		t.Error("not the same after a restart")
	}
	seen := map[[6]byte]string{}
	for _, host := range []string{"iqn.a", "iqn.b"} {
		for _, name := range []string{"disk", "disk2", "d"} {
			for slot := range maxURLs {
				isid := ISID(host, name, slot)
				who := fmt.Sprint(host, name, slot)
				if isid[0] != 0x80 || seen[isid] != "" {
					t.Fatalf("%x of %s is that of %s", isid, who, seen[isid])
				}
				seen[isid] = who
			}
		}
	}
}

// TestISIDIsStable pins the function down: a change of it would leave the
// sessions of the version before behind at every target.
func TestISIDIsStable(t *testing.T) {
	got := fmt.Sprintf("%x", ISID("iqn.2001-04.com.example:host", "disk", 3))
	if want := "80dd80999fd0"; got != want {
		t.Errorf("ISID is %s, was %s", got, want)
	}
}

func TestParseInitiatorFile(t *testing.T) {
	for _, tt := range []struct{ data, want, err string }{
		{"InitiatorName=iqn.1993-08.org.debian:01:abc\n", "iqn.1993-08.org.debian:01:abc", ""},
		{"# comment\n\n InitiatorName = iqn.2001-04.a:b \n", "iqn.2001-04.a:b", ""},
		{"GenerateName=yes\n", "", "no line InitiatorName=NAME"},
		{"InitiatorName=\n", "", "x:1: initiator"},
		{"\nInitiatorName=host\n", "", "x:2: initiator name \"host\" does not begin"},
	} {
		got, err := parseInitiatorFile("x", []byte(tt.data))
		if got != tt.want || (err == nil) != (tt.err == "") ||
			err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q gave %q, %v", tt.data, got, err)
		}
	}
}

func TestKeptInitiatorName(t *testing.T) {
	file := filepath.Join(t.TempDir(), "initiatorname")
	first, err := keptInitiatorName(file, bytes.NewReader([]byte("\x01\x02\x03\x04\x05\x06\x07\x08")))
	if err != nil {
		t.Fatal(err)
	}
	if want := "iqn.2024-08.internal.braid:0102030405060708"; first != want {
		t.Errorf("made %q, want %q", first, want)
	}
	second, err := keptInitiatorName(file, strings.NewReader("another"))
	if err != nil || second != first {
		t.Errorf("the second time %q, %v", second, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLocks(t *testing.T) {
	dir := t.TempDir()
	initiator := fmt.Sprint("iqn.2001-04.com.example:", os.Getpid()) // the sockets are the machine's
	u := URL{Target: "iqn.2001-04.com.example:disk", LUN: 1}
	v := u
	v.Portals = []string{"another:3260"} // another way to the same LUN
	locks := newLockSet(dir, initiator, "disk")
	taken, err := locks.take(u, v)
	if err != nil || len(taken) != 1 || len(locks.held) != 1 {
		t.Fatalf("%d locks, %v", len(locks.held), err)
	}
	if taken, err := locks.take(v); err != nil || len(taken) != 0 {
		t.Errorf("what it has already: %v, %v", taken, err)
	}
	_, err = newLockSet(dir, initiator, "other").take(v)
	var held *LockedError
	if !errors.As(err, &held) || held.Holder != (Holder{os.Getpid(), "disk"}) {
		t.Fatalf("second lock: %v", err)
	}
	want := fmt.Sprintf("LUN 1 of iqn.2001-04.com.example:disk is in use by process %d "+
		"(device disk): end it first (braid down disk), or use another --initiator-name", os.Getpid())
	if err.Error() != want {
		t.Errorf("it says\n%v, want\n%s", err, want)
	}
	// Where the holder's file cannot be seen, the kernel tells the process.
	_, err = newLockSet(t.TempDir(), initiator, "other").take(u)
	if !errors.As(err, &held) || held.Holder.PID != os.Getpid() {
		t.Errorf("lock in another folder: %v", err)
	}
	// Another LUN and another initiator are nobody's.
	w := u
	w.LUN = 2
	for _, l := range []struct {
		initiator string
		url       URL
	}{{initiator, w}, {initiator + "b", u}} {
		more := newLockSet(dir, l.initiator, "other")
		if _, err := more.take(l.url); err != nil {
			t.Error(err)
		}
		// Of several the first is given back if another cannot be had.
		taken, err := more.take(URL{Target: u.Target, LUN: 7}, u)
		if l.initiator == initiator && (err == nil || len(taken) != 0 || len(more.held) != 1) {
			t.Errorf("%v, %v: %d locks", taken, err, len(more.held))
		}
		more.releaseAll()
	}
	locks.release(taken)
	again := newLockSet(dir, initiator, "other")
	if _, err := again.take(u); err != nil {
		t.Fatal(err)
	}
	locks.release(taken) // they are another's by now
	again.releaseAll()
}

func TestStateStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.json")
	if s, err := ReadState(path); err != nil || len(s.Slots) != 0 {
		t.Fatalf("no file gave %+v, %v", s, err)
	}
	store := OpenStateStore(path)
	put := func(s State) error {
		done := make(chan error, 1)
		store.Put(s, func(err error) { done <- err })
		return <-done
	}
	want := State{Version: stateVersion, Slots: []SlotState{
		{0, "iqn.a:b", "80a3c5c2ce72", "iqn.t:d", 1, []string{"10.0.0.1:3260"}, 1, 0, 20, "LIO-ORG", 0},
		{1, "iqn.a:b", "80a3c5c2ce73", "iqn.t:d", 1, []string{"10.0.1.1:3260", "h:3260"}, 2, 2, 0, "",
			0x8000000000000001},
	}, Untold: true}
	if err := put(want); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadState(path); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read back %+v, %v", got, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// Every done is called, whichever state made it to the disk; the last stays.
	count := make(chan error, 100)
	for i := range 100 {
		s := want
		s.Slots = s.Slots[:1+i%2]
		store.Put(s, func(err error) { count <- err })
	}
	for range 100 {
		if err := <-count; err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := ReadState(path); len(got.Slots) != 2 {
		t.Errorf("the newest state has 2 slots, the file %d", len(got.Slots))
	}
	if err := put(State{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no slots left the file: %v", err)
	}
	store.Put(want, func(error) {})
	store.Close()
	if got, _ := ReadState(path); len(got.Slots) != 2 {
		t.Errorf("Close wrote %d slots, want 2", len(got.Slots))
	}
	if err := put(want); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Put after Close: %v", err)
	}
}

func TestReadStateErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.json")
	for _, tt := range []struct{ data, want string }{
		{"{", "unexpected end of JSON input: remove it if"},
		{`{"version": 9}`, "version 9, this one knows 1: run the version"},
	} {
		if err := os.WriteFile(path, []byte(tt.data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadState(path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q gave %v, want %q", tt.data, err, tt.want)
		}
	}
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// State is what outlives the process: which sessions of a device may still be
// alive at its target. A slot is in it from before the first command of its
// session until its clean logout.
type State struct {
	Version int         `json:"version"`
	Slots   []SlotState `json:"slots"`

	// Untold says that acknowledged data was lost, or may have been, and that no client was
	// told.
	Untold bool `json:"untold,omitempty"`
}

// SlotState names the session of one slot.
type SlotState struct {
	Slot        int      `json:"slot"`
	Initiator   string   `json:"initiator"`
	ISID        string   `json:"isid"` // 12 hexadecimal digits
	Target      string   `json:"target"`
	LUN         uint16   `json:"lun"`
	Portals     []string `json:"portals"`
	TPGT        uint16   `json:"tpgt"`        // target portal group tag of the Login Response
	Time2Wait   int      `json:"time2wait"`   // seconds, as negotiated
	Time2Retain int      `json:"time2retain"` // seconds, as negotiated
	Vendor      string   `json:"vendor"`      // of the LUN, as far as it is known

	// Key is the reservation key that the session registers, absent if none.
	Key hexKey `json:"key,omitempty"`
}

const (
	stateVersion = 1
	maxStateSize = 1 << 20
)

// ReadState reads a state file; one that does not exist is an empty state.
func ReadState(path string) (State, error) {
	data, err := readBounded(path, maxStateSize)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return State{}, fmt.Errorf("state file %s: %w: remove it if no session of this device "+
			"is left at the target", path, err)
	}
	if s.Version != stateVersion {
		return State{}, fmt.Errorf("state file %s: version %d, this one knows %d: "+
			"run the version of braid that wrote it", path, s.Version, stateVersion)
	}
	return s, nil
}

// A StateStore writes a state file, the newest state only, in a goroutine of
// its own. Its methods may be called from any goroutine and never wait for the
// disk, except Close.
type StateStore struct {
	path string
	wake chan struct{}
	gone chan struct{}

	shared struct {
		sync.Mutex
		next    *State
		waiting []func(error)
		closed  bool
	}
}

// OpenStateStore starts the writer of a state file.
func OpenStateStore(path string) *StateStore {
	s := &StateStore{path: path, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	go s.run()
	return s
}

// Put has the state written. done is called by the store's goroutine as soon as
// it, or a newer one, is on the disk, or with what went wrong.
func (s *StateStore) Put(state State, done func(error)) {
	state.Version = stateVersion
	s.shared.Lock()
	defer s.shared.Unlock()
	if s.shared.closed {
		go done(os.ErrClosed)
		return
	}
	s.shared.next = &state
	s.shared.waiting = append(s.shared.waiting, done)
	select {
	case s.wake <- struct{}{}:
	default: // the writer is woken already
	}
}

// Close ends the store after what was put is written.
func (s *StateStore) Close() {
	s.shared.Lock()
	if !s.shared.closed {
		s.shared.closed = true
		close(s.wake)
	}
	s.shared.Unlock()
	<-s.gone
}

func (s *StateStore) run() {
	defer close(s.gone)
	for open := true; open; {
		_, open = <-s.wake
		s.shared.Lock()
		state, waiting := s.shared.next, s.shared.waiting
		s.shared.next, s.shared.waiting = nil, nil
		s.shared.Unlock()
		if state == nil {
			continue
		}
		err := writeState(s.path, *state)
		for _, done := range waiting {
			done(err)
		}
	}
}

// writeState replaces the file in one step and waits until that is on the disk.
// A state with nothing in it removes it.
func writeState(path string, s State) error {
	dir := filepath.Dir(path)
	if len(s.Slots) == 0 && !s.Untold {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncFolder(dir)
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	return syncFolder(dir)
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

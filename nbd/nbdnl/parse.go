package nbdnl

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// State is what the kernel knows of a device.
type State struct {
	Index int
	// Connected says that it has been given sockets, not that they live.
	Connected bool
}

var errShort = errors.New("nbdnl: the kernel's answer is cut short")

// maxIndex is the largest device number: a minor has 20 bits.
const maxIndex = 1<<20 - 1

// parseHeader splits a message into its command and its attributes.
func parseHeader(m []byte) (command uint8, attrs []byte, err error) {
	if len(m) < 4 {
		return 0, nil, errShort
	}
	return m[0], m[4:], nil
}

// eachAttr calls fn with every attribute in turn, until one returns an error.
func eachAttr(m []byte, fn func(typ uint16, value []byte) error) error {
	for len(m) > 0 {
		if len(m) < 4 {
			return errShort
		}
		n := int(binary.NativeEndian.Uint16(m))
		if n < 4 || n > len(m) {
			return errShort
		}
		if err := fn(binary.NativeEndian.Uint16(m[2:])&typeMask, m[4:n]); err != nil {
			return err
		}
		m = m[min((n+3)&^3, len(m)):]
	}
	return nil
}

// parseIndex is the device that an answer to CONNECT, or a LINK_DEAD, names.
func parseIndex(m []byte, command uint8) (int, error) {
	got, attrs, err := parseHeader(m)
	if err != nil {
		return 0, err
	}
	if got != command {
		return 0, fmt.Errorf("nbdnl: the kernel answered %d to command %d", got, command)
	}
	index := -1
	err = eachAttr(attrs, func(typ uint16, value []byte) error {
		if typ != attrIndex {
			return nil
		}
		index, err = indexValue(value)
		return err
	})
	if err == nil && index < 0 {
		err = errors.New("nbdnl: the kernel's answer names no device")
	}
	return index, err
}

func indexValue(value []byte) (int, error) {
	if len(value) != 4 {
		return 0, errShort
	}
	v := binary.NativeEndian.Uint32(value)
	if v > maxIndex {
		return 0, fmt.Errorf("nbdnl: the kernel names a device %d", v)
	}
	return int(v), nil
}

// parseStatus reads the answer to STATUS.
func parseStatus(m []byte) ([]State, error) {
	got, attrs, err := parseHeader(m)
	if err != nil {
		return nil, err
	}
	if got != cmdStatus {
		return nil, fmt.Errorf("nbdnl: the kernel answered %d to command %d", got, cmdStatus)
	}
	var list []State
	err = eachAttr(attrs, func(typ uint16, items []byte) error {
		if typ != attrDeviceList {
			return nil
		}
		return eachAttr(items, func(typ uint16, item []byte) error {
			if typ != deviceItem {
				return nil
			}
			s, err := parseDevice(item)
			list = append(list, s)
			return err
		})
	})
	return list, err
}

func parseDevice(item []byte) (State, error) {
	s := State{Index: -1}
	err := eachAttr(item, func(typ uint16, value []byte) (err error) {
		switch typ {
		case deviceIndex:
			s.Index, err = indexValue(value)
		case deviceConnected:
			if len(value) != 1 {
				return errShort
			}
			s.Connected = value[0] != 0
		}
		return err
	})
	if err == nil && s.Index < 0 {
		err = errors.New("nbdnl: the kernel's answer names no device")
	}
	return s, err
}

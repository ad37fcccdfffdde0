package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"braid/iscsi/login"
)

const (
	initiatorFile = "/etc/iscsi/initiatorname.iscsi"

	// ownNames begins the names that are made here. The domain .internal is set
	// aside for private use, so no naming authority is impersonated; 64 random
	// bits after it make the name the machine's own.
	ownNames = "iqn.2024-08.internal.braid:"
)

// initiatorName gives the name that this machine logs in with: the configured
// one, the one of /etc/iscsi/initiatorname.iscsi, or one that is made once and
// kept in the state folder.
func initiatorName(configured InitiatorName, folder func() (string, error)) (string, error) {
	if configured != "" {
		return string(configured), nil
	}
	data, err := readBounded(initiatorFile, maxConfigSize)
	switch {
	case err == nil:
		return parseInitiatorFile(initiatorFile, data)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		dir, err := folder()
		if err != nil {
			return "", err
		}
		return keptInitiatorName(filepath.Join(dir, "initiatorname"), rand.Reader)
	}
	return "", err
}

// parseInitiatorFile finds InitiatorName=... as iscsid does.
func parseInitiatorFile(file string, data []byte) (string, error) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		value, ok := strings.CutPrefix(line, "InitiatorName")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if value, ok = strings.CutPrefix(value, "="); !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if err := login.ValidName(value); err != nil {
			return "", fmt.Errorf("%s:%d: initiator %w", file, n, err)
		}
		return value, nil
	}
	return "", fmt.Errorf("%s: there is no line InitiatorName=NAME", file)
}

// keptInitiatorName reads the name that was made before, or makes one. Of
// several processes that do it at once, one's name stays.
func keptInitiatorName(file string, random io.Reader) (string, error) {
	data, err := readBounded(file, maxConfigSize)
	if err == nil {
		return parseInitiatorFile(file, data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var id [8]byte
	if _, err := io.ReadFull(random, id[:]); err != nil {
		return "", err
	}
	line := fmt.Sprintf("InitiatorName=%s%x\n", ownNames, id)
	temp, err := os.CreateTemp(filepath.Dir(file), ".initiatorname-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(line)
	if err == nil {
		err = temp.Chmod(0o644)
	}
	if err == nil {
		err = temp.Sync()
	}
	if e := temp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return "", err
	}
	// A link, unlike a rename, never replaces a name that is there already.
	if err := os.Link(temp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	data, err = readBounded(file, maxConfigSize)
	if err != nil {
		return "", err
	}
	return parseInitiatorFile(file, data)
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// stateFolder is where names and state files are kept over a restart: what
// systemd says (STATE_DIRECTORY, systemd.exec(5)), /var/lib/braid for root, else
// braid in the user's state folder.
func stateFolder() (string, error) {
	if given := os.Getenv("STATE_DIRECTORY"); filepath.IsAbs(given) {
		return makeFolder(given)
	}
	if os.Geteuid() == 0 {
		return makeFolder("/var/lib/braid")
	}
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("no folder to keep state in: %w: set XDG_STATE_HOME", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	return makeFolder(filepath.Join(base, "braid"))
}

// errNoRuntimeFolder says that there is no place for a socket by default.
var errNoRuntimeFolder = errors.New("no folder for sockets: XDG_RUNTIME_DIR is not set")

// runtimeFolder is where sockets and locks lie until the machine stops: what
// systemd says, /run/braid for root, else braid in the user's runtime folder.
func runtimeFolder() (string, error) {
	if given := os.Getenv("RUNTIME_DIRECTORY"); filepath.IsAbs(given) {
		return given, nil
	}
	if os.Geteuid() == 0 {
		return "/run/braid", nil
	}
	base := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(base) {
		return "", errNoRuntimeFolder
	}
	return filepath.Join(base, "braid"), nil
}

func makeFolder(path string) (string, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", err
	}
	return path, nil
}

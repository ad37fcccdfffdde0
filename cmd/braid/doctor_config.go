package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// configs gives the configuration files, /etc/braid/NAME.toml.
func (m *machine) configs() []string { return m.glob(configDir + "/*.toml") }

// deviceName is the name that a configuration file is called by.
func deviceName(file string) string { return strings.TrimSuffix(path.Base(file), ".toml") }

// config reads one of them. Secrets are not looked into.
func (m *machine) config(file string) (Config, error) {
	doc, err := readBounded(m.path(file), maxConfigSize)
	if err != nil {
		return Config{}, err
	}
	c, err := Parse(file, doc)
	if err != nil {
		return Config{}, err
	}
	if err := c.Check(); err != nil {
		err.File, err.Line = file, lineOf(doc, err.Key, "")
		return Config{}, err
	}
	return c, checkDeviceName(deviceName(file))
}

func examineConfigs(m *machine) []finding {
	files := m.configs()
	if len(files) == 0 {
		if _, err := os.ReadDir(m.path(configDir)); errors.Is(err, fs.ErrPermission) {
			return []finding{{"configuration", warned, configDir + " may not be read by this user",
				"sudo braid doctor"}}
		}
		return []finding{{"configuration", allRight, "no file in " + configDir + " yet; a sample is " +
			"/usr/share/doc/braid/examples/braid.toml.example", ""}}
	}
	var all []finding
	for _, file := range files {
		c, err := m.config(file)
		switch {
		case errors.Is(err, fs.ErrPermission):
			all = append(all, finding{"configuration", warned, file + " may not be read by this user",
				"sudo braid doctor"})
			continue
		case err != nil:
			all = append(all, finding{"configuration", missing, m.shown(err), "editor " + file})
			continue
		}
		all = append(all, finding{"configuration", allRight, fmt.Sprintf("%s: %d paths", file,
			len(c.URLs)), ""})
		for _, secret := range []string{c.CHAPSecretFile, c.MutualCHAPSecretFile} {
			if secret != "" {
				all = append(all, m.examineSecret(file, secret)...)
			}
		}
	}
	return all
}

// shown is an error with paths as they are on the machine.
func (m *machine) shown(err error) string {
	if m.root == "/" {
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), filepath.Clean(m.root), "")
}

func (m *machine) examineSecret(config, secret string) []finding {
	if !strings.HasPrefix(secret, "/") {
		return []finding{{"secret", warned, fmt.Sprintf("%s: %s is found only from where braid is "+
			"started", config, secret), "write the whole path, from / on"}}
	}
	info, err := os.Stat(m.path(secret))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return []finding{{"secret", warned, secret + " may not be looked at by this user",
			"sudo braid doctor"}}
	case err != nil:
		return []finding{{"secret", missing, fmt.Sprintf("%s: %s", config, m.shown(err)),
			"install -m 600 /dev/null " + secret + "; editor " + secret}}
	case info.Mode().Perm()&0o077 != 0:
		return []finding{{"secret", missing, fmt.Sprintf("%s may be read by others (mode %04o)", secret,
			info.Mode().Perm()), "chmod 600 " + secret}}
	case info.Size() == 0:
		return []finding{{"secret", missing, secret + " is empty", "editor " + secret}}
	}
	return nil
}

// examineInitiator finds the name that this machine logs in with.
func examineInitiator(m *machine) []finding {
	const check = "initiator name"
	for _, file := range []string{initiatorFile, m.stateDir + "/initiatorname"} {
		data, err := readBounded(m.path(file), maxConfigSize)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, fs.ErrPermission):
			return []finding{{check, allRight, file + ", which only root may read", ""}}
		case err != nil:
			return []finding{{check, missing, m.shown(err), "editor " + file}}
		}
		name, err := parseInitiatorFile(file, data)
		if err != nil {
			return []finding{{check, missing, m.shown(err), "editor " + file}}
		}
		return []finding{{check, allRight, name + " (" + file + ")", ""}}
	}
	return []finding{{check, allRight, "none yet: one is made at the first start", ""}}
}

// examineKernelSessions looks for targets that the kernel's own initiator is
// logged in to as well: a LUN that is there twice is written to from two sides.
func examineKernelSessions(m *machine) []finding {
	var kernel []string
	for _, file := range m.glob("/sys/class/iscsi_session/session*/targetname") {
		kernel = append(kernel, m.text(file))
	}
	var all []finding
	for _, file := range m.configs() {
		c, err := m.config(file)
		if err != nil {
			continue
		}
		var told []string
		for _, u := range c.URLs {
			if slices.Contains(kernel, u.Target) && !slices.Contains(told, u.Target) {
				told = append(told, u.Target)
				all = append(all, finding{"other initiators", warned, fmt.Sprintf("%s: the kernel's "+
					"initiator is logged in to %s too: the LUN may be used twice", file, u.Target),
					"iscsiadm -m node -T " + u.Target + " -u"})
			}
		}
	}
	return all
}

// examineFolders looks whether state and sockets have a place.
func examineFolders(m *machine) []finding {
	var all []finding
	if info, err := os.Stat(m.path(m.stateDir)); err == nil && !info.IsDir() {
		all = append(all, finding{"state folder", missing, m.stateDir + " is no folder",
			"mv " + m.stateDir + " " + m.stateDir + ".old"})
	}
	if m.runDir == "" {
		all = append(all, finding{"control sockets", warned, "this user has no folder for them: " +
			"`braid status` finds no device", "export XDG_RUNTIME_DIR=/run/user/$(id -u), or --control"})
	}
	return all
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	configDir     = "/etc/braid"
	maxConfigSize = 1 << 20
)

// loadConfig makes the configuration of `braid up` from its arguments, either
// URLs or the one name of a file, and the flags.
func loadConfig(args []string, flags *Flags) (Config, error) {
	if len(args) == 0 {
		return Config{}, usagef("braid up needs a NAME or URLs")
	}
	if strings.Contains(args[0], "://") {
		return configOfURLs(args, flags)
	}
	if len(args) > 1 {
		return Config{}, usagef("braid up takes one NAME, or URLs that begin with iscsi://")
	}
	return configOfFile(args[0], flags)
}

func configOfURLs(args []string, flags *Flags) (Config, error) {
	c := Defaults()
	for _, arg := range args {
		u, err := ParseURL(arg)
		if err != nil {
			return Config{}, &ConfigError{Err: err}
		}
		c.URLs = append(c.URLs, u)
	}
	if err := flags.Apply(&c); err != nil {
		return Config{}, err
	}
	if c.Name == "" {
		c.Name = Name(DefaultName(c.URLs[0]))
	}
	c.setDefaultExport()
	if err := c.Check(); err != nil {
		if err.Key == "urls" {
			err.Key = ""
		} else {
			err.Key = "--" + option{key: err.Key}.flag()
		}
		return Config{}, err
	}
	return c, nil
}

// configOfFile reads /etc/braid/NAME.toml; a name with a slash or with .toml is
// a path of its own.
func configOfFile(name string, flags *Flags) (Config, error) {
	file := name
	if !strings.Contains(name, "/") && !strings.HasSuffix(name, ".toml") {
		if err := checkDeviceName(name); err != nil {
			return Config{}, &ConfigError{Err: err}
		}
		file = filepath.Join(configDir, name+".toml")
	}
	doc, err := readBounded(file, maxConfigSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Config{}, &ConfigError{Err: fmt.Errorf("%s does not exist: write it, "+
			"or give the URLs: braid up iscsi://HOST/TARGET-IQN/LUN", file)}
	case err != nil:
		return Config{}, &ConfigError{Err: err}
	}
	c, err := Parse(file, doc)
	if err != nil {
		return Config{}, err
	}
	if err := flags.Apply(&c); err != nil {
		return Config{}, err
	}
	if c.Name == "" {
		c.Name = Name(strings.TrimSuffix(filepath.Base(file), ".toml"))
		if err := checkDeviceName(string(c.Name)); err != nil {
			return Config{}, &ConfigError{File: file, Err: err}
		}
	}
	c.setDefaultExport()
	if err := c.Check(); err != nil {
		return Config{}, locate(err, file, doc, flags)
	}
	return c, nil
}

// setDefaultExport makes the device one of the kernel's where nothing is said.
func (c *Config) setDefaultExport() {
	if len(c.NBD) == 0 {
		c.NBD = Exports{{"nbd", "auto"}}
	}
}

// locate says where the setting that e complains of was made.
func locate(e *ConfigError, file string, doc []byte, flags *Flags) *ConfigError {
	if r := flags.given[e.Key]; r != nil && len(r.texts) > 0 {
		e.Key = "--" + option{key: e.Key}.flag()
		return e
	}
	e.File, e.Line = file, lineOf(doc, e.Key, "")
	return e
}

// readBounded reads a file that must not be larger than most bytes.
func readBounded(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes, at most %d make sense", path, info.Size(), most)
	}
	return os.ReadFile(path)
}

const maxSecret = 512 // bytes of a CHAP secret; RFC 7143 section 12.1.4 asks for 12 and more

// readSecret reads the file of a CHAP secret; one line end after it is no part
// of it. The error never shows what is in it.
func readSecret(path string) ([]byte, error) {
	data, err := readBounded(path, maxSecret+2)
	if err != nil {
		return nil, err
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if secret == "" {
		return nil, fmt.Errorf("%s is empty: it must hold the CHAP secret", path)
	}
	if len(secret) > maxSecret {
		return nil, fmt.Errorf("%s: the secret is longer than %d bytes", path, maxSecret)
	}
	return []byte(secret), nil
}

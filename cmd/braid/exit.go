package main

import (
	"errors"
	"fmt"
)

// Exit codes of every command.
const (
	exitOK     = 0
	exitFailed = 1 // what was tried did not work
	exitUsage  = 2 // bad usage or configuration
)

// A UsageError is a command line that cannot be understood.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

func usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// exitCode gives the exit code that err stands for.
func exitCode(err error) int {
	var usage *UsageError
	var config *ConfigError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage), errors.As(err, &config):
		return exitUsage
	}
	return exitFailed
}

// errSaid ends a command with exit code 1 after it has said all there is to say.
var errSaid = errors.New("said")

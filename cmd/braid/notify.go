package main

import (
	"log/slog"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// notify tells systemd a state such as READY=1. Without systemd it does
// nothing: sd_notify(3).
func notify(log func(slog.Level, string, ...any), state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		log(slog.LevelWarn, "systemd was not told", "state", state, "err", err)
	}
}

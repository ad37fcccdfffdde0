package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sys/unix"
)

// A Controlled is what the control socket shows and steers. Its methods are
// called from ordinary goroutines.
type Controlled interface {
	// Status gives a copy of the device's state.
	Status() (Status, error)
	// Down has the device flushed, its sessions logged out and its sockets
	// closed, and returns when that is done or the context ends.
	Down(ctx context.Context) error

	// AddPath gives the device one more path and waits a while for it. ChangePath
	// removes, fails or reinstates the path that is named by its URL or its number.
	// Queue changes no_path. Resize takes over a larger capacity. Each says in words
	// what has come of it; what cannot be done is an *ActionError.
	AddPath(ctx context.Context, u URL) (string, error)
	ChangePath(ctx context.Context, action PathAction, which string) (string, error)
	Queue(on bool) (string, error)
	Resize(ctx context.Context) (string, error)
}

const (
	controlTimeout = 10 * time.Second // reading a request, and an idle connection
	downTimeout    = 15 * time.Second // a little more than an orderly end may take
)

// A Control is the control socket of a device: HTTP over a unix socket that
// only its owner may open.
type Control struct {
	path   string
	server *http.Server
}

// ServeControl opens the socket at path and answers there until Close.
func ServeControl(path string, device Controlled, log func(slog.Level, string, ...any)) (*Control,
	error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	listener, err := listenUnix(path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	c := &Control{path: path, server: &http.Server{
		Handler:           controlHandler(device),
		ReadHeaderTimeout: controlTimeout,
		ReadTimeout:       controlTimeout,
		IdleTimeout:       controlTimeout,
		MaxHeaderBytes:    16 << 10,
	}}
	go func() {
		if err := c.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log(slog.LevelError, "control socket ended", "err", err)
		}
	}()
	return c, nil
}

// Close ends the socket and removes it. Answers under way get a moment.
func (c *Control) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		c.server.Close()
	}
}

func controlHandler(device Controlled) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		s, err := device.Status()
		if err != nil {
			refuse(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.Encode(s.normalized()) // a client that went away is no error of ours
	})
	mux.HandleFunc("POST /v1/down", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), downTimeout)
		defer cancel()
		if err := device.Down(ctx); err != nil {
			refuse(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	handleActions(mux, device)
	mux.Handle("GET /metrics", promhttp.HandlerFor(newRegistry(device.Status),
		promhttp.HandlerOpts{}))
	return mux
}

// refuse answers with an error as {"error": "..."}.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statusFor(err))
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

// listenUnix opens a socket with mode 0600. A socket that nobody listens on any
// more is replaced; a live one, and what is no socket, is left alone.
func listenUnix(path string) (net.Listener, error) {
	if err := clearSocket(path); err != nil {
		return nil, err
	}
	before := unix.Umask(0o177)
	l, err := net.Listen("unix", path)
	unix.Umask(before)
	return l, err
}

// clearSocket removes a stale socket at path.
func clearSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is there and is no socket: name another path", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s is in use by another process: end it, or name another path", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

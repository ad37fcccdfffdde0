package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
)

const maxAnswer = 16 << 20 // bytes of an answer on the control socket

// A controlClient speaks to one device's control socket.
type controlClient struct {
	name string // for messages
	path string
	http http.Client
}

func newControlClient(name, path string) *controlClient {
	return &controlClient{name: name, path: path, http: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}}}}
}

// controlPath gives the control socket of a device by name, or the one that is
// named by a path.
func controlPath(name string) (string, error) {
	if path, ok := strings.CutPrefix(name, "unix:"); ok {
		return path, nil
	}
	if strings.Contains(name, "/") {
		return name, nil
	}
	if err := checkDeviceName(name); err != nil {
		return "", &ConfigError{Err: err}
	}
	dir, err := runtimeFolder()
	if err != nil {
		return "", fmt.Errorf("%w: give the path of the device's control socket instead", err)
	}
	return filepath.Join(dir, name+".sock"), nil
}

// runningDevices gives the names of the devices that have a socket in the
// default place, in order.
func runningDevices() ([]string, error) {
	dir, err := runtimeFolder()
	if err != nil {
		return nil, fmt.Errorf("%w: give the path of a device's control socket", err)
	}
	sockets, err := filepath.Glob(filepath.Join(dir, "*.sock"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range sockets {
		names = append(names, strings.TrimSuffix(filepath.Base(s), ".sock"))
	}
	return names, nil
}

// A notRunningError says that nobody listens on a device's control socket.
type notRunningError struct{ name, path string }

func (e *notRunningError) Error() string {
	return fmt.Sprintf("device %s is not running: nobody listens on %s", e.name, e.path)
}

// do sends one request and gives the answer's body.
func (c *controlClient) do(ctx context.Context, method, path string) ([]byte, error) {
	return c.send(ctx, method, path, http.NoBody)
}

// send is do with a body.
func (c *controlClient) send(ctx context.Context, method, path string, body io.Reader) ([]byte,
	error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://braid"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, &notRunningError{c.name, c.path}
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s belongs to another user: run this as the user of the daemon", c.path)
	case err != nil:
		return nil, fmt.Errorf("device %s: %w", c.name, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", c.name, err)
	}
	if resp.StatusCode >= 300 {
		var said struct{ Error string }
		if json.Unmarshal(answer, &said) != nil || said.Error == "" {
			said.Error = resp.Status
		}
		return nil, fmt.Errorf("device %s: %s", c.name, said.Error)
	}
	return answer, nil
}

// status asks for the device's status, as it is and decoded.
func (c *controlClient) status(ctx context.Context) (Status, json.RawMessage, error) {
	body, err := c.do(ctx, http.MethodGet, "/v1/status")
	if err != nil {
		return Status{}, nil, err
	}
	var s Status
	if err := json.Unmarshal(body, &s); err != nil {
		return Status{}, nil, fmt.Errorf("device %s: %w", c.name, err)
	}
	return s, body, nil
}

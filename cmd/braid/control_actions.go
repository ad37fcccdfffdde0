package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// A PathAction is what is to become of a path that there is.
type PathAction string

// Actions.
const (
	removePath    PathAction = "remove"
	failPath      PathAction = "fail"
	reinstatePath PathAction = "reinstate"
)

// maxAction bounds the body of a request.
const maxAction = 16 << 10

// actionRequest is the body of a POST: which of its fields count depends on the action.
type actionRequest struct {
	URL  string `json:"url"`  // of a path; for one that there is, also its number
	Mode string `json:"mode"` // on or off
}

// actionAnswer is the body of the answer.
type actionAnswer struct {
	Message string `json:"message"`
}

// handleActions adds the actions:
//
//	POST /v1/path/add        {"url": "iscsi://..."}
//	POST /v1/path/remove     {"url": "iscsi://..." or "NUMBER"}; likewise fail, reinstate
//	POST /v1/queue           {"mode": "on" or "off"}
//	POST /v1/resize
//
// Each answers {"message": "..."}, or {"error": "..."} with 400 for what cannot be
// understood, 404 for no such path, 409 for what cannot be done.
func handleActions(mux *http.ServeMux, device Controlled) {
	handle := func(path string, do func(ctx context.Context, a actionRequest) (string, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			var a actionRequest
			body := http.MaxBytesReader(w, r.Body, maxAction)
			if err := json.NewDecoder(body).Decode(&a); err != nil && r.ContentLength != 0 {
				refuse(w, usagef("the body is not the JSON of an action: %w", err))
				return
			}
			message, err := do(context.WithoutCancel(r.Context()), a)
			if err != nil {
				refuse(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(actionAnswer{message})
		})
	}
	handle("/v1/path/add", func(ctx context.Context, a actionRequest) (string, error) {
		u, err := ParseURL(a.URL)
		if err != nil {
			return "", usagef("%w", err)
		}
		return device.AddPath(ctx, u)
	})
	for _, action := range []PathAction{removePath, failPath, reinstatePath} {
		handle("/v1/path/"+string(action), func(ctx context.Context, a actionRequest) (string, error) {
			which, err := canonicalPath(a.URL)
			if err != nil {
				return "", usagef("%w", err)
			}
			return device.ChangePath(ctx, action, which)
		})
	}
	handle("/v1/queue", func(_ context.Context, a actionRequest) (string, error) {
		if a.Mode != "on" && a.Mode != "off" {
			return "", usagef("mode %q is neither on nor off", a.Mode)
		}
		return device.Queue(a.Mode == "on")
	})
	handle("/v1/resize", func(ctx context.Context, _ actionRequest) (string, error) {
		return device.Resize(ctx)
	})
}

// canonicalPath writes a URL as the status shows it. A number stays one.
func canonicalPath(text string) (string, error) {
	if isNumber(text) {
		return text, nil
	}
	u, err := ParseURL(text)
	if err != nil {
		return "", fmt.Errorf("%w, nor is it the number of a path", err)
	}
	return u.String(), nil
}

func isNumber(text string) bool {
	for _, r := range text {
		if r < '0' || r > '9' {
			return false
		}
	}
	return text != "" && len(text) < 4
}

// statusFor is the HTTP status of an error.
func statusFor(err error) int {
	var action *ActionError
	var usage *UsageError
	switch {
	case errors.As(err, &usage):
		return http.StatusBadRequest
	case errors.As(err, &action) && action.Missing:
		return http.StatusNotFound
	case errors.As(err, &action):
		return http.StatusConflict
	}
	return http.StatusServiceUnavailable
}

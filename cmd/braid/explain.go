package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"braid/internal/loop"
	"braid/iscsi"
	"braid/iscsi/scsi"
	"braid/mpath"
)

// explain turns what went wrong into one line for a person: what was tried,
// what the peer answered, and what to do about it.
func explain(err error) error {
	if err == nil {
		return nil
	}
	var before *explained
	if errors.As(err, &before) {
		return err
	}
	var path *mpath.PathError
	if errors.As(err, &path) {
		return explainPath(path.Path, path.Err)
	}
	text, remedy := wordsFor(err)
	text = strings.ReplaceAll(text, "\n", " ")
	if remedy != "" && !strings.Contains(text, remedy) {
		text += ": " + remedy
	}
	return &explained{text, err}
}

// explainPath is explain for the error of one path, which it names.
func explainPath(url string, err error) error {
	text, remedy := wordsFor(err)
	var dial *loop.DialError
	if !errors.As(err, &dial) {
		var conn *iscsi.ConnError
		if errors.As(err, &conn) {
			text = strings.TrimPrefix(text, conn.Address+": ")
		}
		text = url + ": " + text
	}
	if remedy != "" && !strings.Contains(text, remedy) {
		text += ": " + remedy
	}
	return &explained{strings.ReplaceAll(text, "\n", " "), err}
}

type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

func wordsFor(err error) (text, remedy string) {
	var dial *loop.DialError
	if errors.As(err, &dial) {
		return dialWords(dial)
	}
	where := ""
	var conn *iscsi.ConnError
	if errors.As(err, &conn) {
		where = conn.Address + ": "
		err = conn.Err
	}
	var advice interface {
		error
		Remedy() string
	}
	if errors.As(err, &advice) {
		return where + advice.Error(), advice.Remedy()
	}
	var late *iscsi.TimeoutError
	if errors.As(err, &late) {
		return where + late.Error(), "check that an iSCSI target answers there, " +
			"and the network to it"
	}
	var sense *scsi.StatusError
	if errors.As(err, &sense) && sense.Sense.Key == scsi.IllegalRequest && sense.Sense.ASC == 0x25 {
		return where + err.Error(), "`braid inquire` lists the LUNs that there are"
	}
	return where + err.Error(), ""
}

func dialWords(e *loop.DialError) (text, remedy string) {
	text = fmt.Sprintf("cannot connect to %s: ", e.Address)
	var name *net.DNSError
	switch {
	case errors.As(e, &name):
		return text + "the name cannot be looked up: " + name.Err, "check the host in the URL"
	case errors.Is(e, syscall.ECONNREFUSED):
		return text + "connection refused",
			"check that the target runs there, and the port in the URL"
	case errors.Is(e, context.DeadlineExceeded), errors.Is(e, syscall.ETIMEDOUT):
		return text + "no answer", "check the address, and that no firewall is in between"
	case errors.Is(e, syscall.EHOSTUNREACH), errors.Is(e, syscall.ENETUNREACH):
		return text + "no route to it", "check the address and this machine's network"
	}
	reasons := make([]string, 0, len(e.Tried))
	for _, r := range e.Tried {
		reasons = append(reasons, r.Error())
	}
	return text + strings.Join(reasons, "; "), ""
}

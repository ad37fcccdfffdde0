package main

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"braid/internal/loop"
	"braid/iscsi"
	"braid/iscsi/login"
)

func TestExplainPath(t *testing.T) {
	const url = "iscsi://h/iqn.2001-04.com.example:disk/1"
	on := func(state string, err error) error {
		return &iscsi.ConnError{Address: "h:3260", State: state, Err: err}
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{on("dialing", &loop.DialError{Address: "h:3260", Tried: []error{syscall.ECONNREFUSED}}),
			"cannot connect to h:3260: connection refused: " +
				"check that the target runs there, and the port in the URL"},
		{on("login", login.Status(login.StatusNotAuthorized)),
			url + ": login refused: this initiator is not allowed to use the target (status 0202): " +
				"add this initiator's name to the access list of the target"},
		{on("login", login.Status(login.StatusUnavailable)),
			url + ": login refused: the target or its service is not available now (status 0301)"},
		{on("up", io.EOF), url + ": EOF"},
		{errors.New("two\nlines"), url + ": two lines"},
	} {
		err := explainPath(url, tt.err)
		if err.Error() != tt.want {
			t.Errorf("%v\nis explained as %v\nnot as          %s", tt.err, err, tt.want)
		}
		if !errors.Is(err, tt.err) || explain(err) != err {
			t.Errorf("%v: the cause is lost, or it is explained twice", err)
		}
	}
}

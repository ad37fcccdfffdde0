package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// serveStatus answers as a daemon's control socket would.
func serveStatus(t *testing.T, s Status) {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", folder)
	l, err := net.Listen("unix", filepath.Join(folder, s.Name+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(s)
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

func TestDescribe(t *testing.T) {
	const naa = "BRAID_ID=naa.60014051234567890abcdef012345678\n" +
		"ID_SERIAL=naa.60014051234567890abcdef012345678\nID_WWN=0x6001405123456789\n" +
		"ID_WWN_WITH_EXTENSION=0x60014051234567890abcdef012345678\n"
	const id = "naa.60014051234567890abcdef012345678"
	tests := []struct {
		name, device, backend string
		status                Status
		want                  string
		err                   error
	}{
		{"disk", "nbd3", id, Status{Name: "lun0", WWID: id, Exports: []string{"/dev/nbd3"},
			State: "striped"}, naa + "BRAID_NAME=lun0\nBRAID_READABLE=1\n", nil},
		{"partition", "nbd3p2", id, Status{Name: "lun0", WWID: id, State: "draining",
			Exports: []string{"unix:/x", "/dev/nbd3"}}, naa + "BRAID_NAME=lun0\nBRAID_READABLE=1\n", nil},
		{"no path", "nbd3", id, Status{Name: "lun0", WWID: id, Exports: []string{"/dev/nbd3"},
			State: "queueing"}, naa + "BRAID_NAME=lun0\nBRAID_READABLE=0\n", nil},
		{"of another LUN", "nbd3", id, Status{Name: "lun0", WWID: "naa.5", Exports: []string{"/dev/nbd3"},
			State: "striped"}, naa, nil},
		{"another device", "nbd3", id, Status{Name: "lun0", WWID: id, Exports: []string{"/dev/nbd30"},
			State: "striped"}, naa, nil},
		{"odd characters", "nbd3", "t10.A B/../c\"", Status{Name: "x"},
			"BRAID_ID=t10.A_B_.._c_\nID_SERIAL=t10.A_B_.._c_\n", nil},
		{"not ours", "nbd3", "17", Status{Name: "x"}, "", errNotOurs},
		{"not connected", "nbd4", "", Status{Name: "x"}, "", errNotOurs},
		{"no nbd", "sda", "", Status{Name: "x"}, "", errNotOurs},
		{"a path", "../nbd3", id, Status{Name: "x"}, "", errNotOurs},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			serveStatus(t, test.status)
			sys := t.TempDir()
			if test.backend != "" {
				if err := os.MkdirAll(filepath.Join(sys, "block/nbd3"), 0o755); err != nil {
					t.Fatal(err)
				}
				err := os.WriteFile(filepath.Join(sys, "block/nbd3/backend"), []byte(test.backend+"\n"), 0o644)
				if err != nil {
					t.Fatal(err)
				}
			}
			var b bytes.Buffer
			err := describe(context.Background(), &b, sys, test.device)
			if b.String() != test.want || !errors.Is(err, test.err) {
				t.Errorf("%q, %v", b.String(), err)
			}
		})
	}
}

func TestAnnounce(t *testing.T) {
	sys := t.TempDir()
	if err := announce(sys, "/dev/nbd3"); err == nil {
		t.Error("no such device, no error")
	}
	file := filepath.Join(sys, "block/nbd3/uevent")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := announce(sys, "/dev/nbd3"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); string(got) != "change" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

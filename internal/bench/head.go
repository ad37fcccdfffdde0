package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// firstLine runs a program for its version.
func firstLine(name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil && len(out) == 0 {
		return name + ": " + err.Error()
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for _, l := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(l, "model name") {
			_, v, _ := strings.Cut(l, ":")
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

// writeHead says what is compared, on what, and how.
func writeHead(w io.Writer, s settings) error {
	_, err := fmt.Fprintf(w, `| | |
|---|---|
| date | %s |
| machine | %d processors, %s; Linux %s |
| braid | %s |
| beside it | %s; %s; libiscsi %s |
| client | %s |
| runs | %d clean ones of %v each wanted; one with more than %.2f foreign cores is not clean |

`,
		time.Now().Format("2 January 2006"), runtime.NumCPU(), cpuModel(), firstLine("uname", "-r"),
		firstLine(s.braid, "--version"), firstLine("qemu-nbd", "--version"),
		"tgt "+firstLine("tgtd", "--version"),
		firstLine("dpkg-query", "-W", "-f", "${Version}", "libiscsi7"),
		firstLine("fio", "--version"), s.rounds, s.length, s.foreign)
	return err
}

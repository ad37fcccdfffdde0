//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// braidBinary is the command under test.
var braidBinary string

// Most tests wait for timers of the daemon most of their time, so that more of
// them than there are processors run at once.
const testsAtOnce = 5

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if braidBinary = os.Getenv("BRAID"); braidBinary == "" {
		folder, err := os.MkdirTemp("", "braid-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		braidBinary = filepath.Join(folder, "braid")
		build := exec.Command("go", "build", "-o", braidBinary, "braid/cmd/braid")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "braid cannot be built:", err)
			return 1
		}
	}
	if !flagGiven("test.parallel") {
		if err := flag.Set("test.parallel", fmt.Sprint(testsAtOnce)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

func flagGiven(name string) bool {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
}

package sim

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	mutantFlag  = flag.String("sim.mutant", "", "only this mutant")
	mutantsFlag = flag.Bool("sim.mutants", false, "all mutants, not only those of the first rank")
	seekFlag    = flag.Uint64("sim.seek", 0, "try so many seeds at least before giving up")
)

// A mutant is a mistake that somebody might make in the product. The simulator has to find
// each, else it would not find the mistake that somebody did make.
type mutant struct {
	name  string
	edits []edit
	seek  uint64 // seeds within which it must be found
	rank  int    // 1: always tried
}

// An edit is one change of a source file.
type edit struct {
	file     string // below the module's root
	old, new string // old stands there once
}

// TestMutants runs the seeds against the product with one mistake put in at a time. The
// product's files are not touched: the go command is told to take others in their place.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a build for every mutant")
	}
	for _, m := range mutants {
		switch {
		case *mutantFlag != "" && m.name != *mutantFlag:
			continue
		case *mutantFlag == "" && !*mutantsFlag && m.rank > 1:
			continue
		}
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) { m.hunt(t) })
	}
}

// hunt runs seeds until one is found that the mistake is to blame for: this process runs the
// product as it is, and has to find nothing there.
func (m *mutant) hunt(t *testing.T) {
	list := m.overlay(t)
	last := *firstFlag + max(m.seek, *seekFlag)
	for first := *firstFlag; first < last; {
		seed, what := m.find(t, list, first, last-first)
		if what == "" {
			break
		}
		own := Run(Draw(seed), nil).Fault
		if own == "" {
			t.Logf("found after %d seeds: %s", seed-*firstFlag+1, what)
			return
		}
		t.Errorf("seed %d fails without the mutation too: %s", seed, own)
		first = seed + 1
	}
	t.Fatalf("not found within %d seeds", last-*firstFlag)
}

// find runs seeds of the mutated product, and returns the first that fails and how.
func (m *mutant) find(t *testing.T, list string, first, seeds uint64) (uint64, string) {
	cmd := exec.Command("go", "test", "-overlay", list, "-count=1", "-timeout=60m",
		"-run", "^TestSim$", "-v", ".", "-sim.seeds", strconv.FormatUint(seeds, 10),
		"-sim.first", strconv.FormatUint(first, 10), "-sim.whole")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return 0, ""
	}
	after := regexp.MustCompile(`found after (\d+) seeds`).FindSubmatch(out)
	what := regexp.MustCompile(`(?m)^\s*FOUND: (.*)$`).FindSubmatch(out)
	if after == nil || what == nil {
		t.Fatalf("the run failed in another way:\n%s", out)
	}
	n, err := strconv.ParseUint(string(after[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return first + n - 1, string(what[1])
}

// overlay writes the mutated files and the list that makes the go command use them.
func (m *mutant) overlay(t *testing.T) string {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	texts := map[string]string{}
	for _, e := range m.edits {
		text, ok := texts[e.file]
		if !ok {
			source, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				t.Fatal(err)
			}
			text = string(source)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Errorf("%s holds what is to be mutated %d times, not once: the mutant has to follow "+
				"the code:\n%s", e.file, n, e.old)
		}
		texts[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		mutated := filepath.Join(folder, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(mutated, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, file)] = mutated
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(name, list, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestMutantsFit: every mutant still fits the code, also those that are not tried.
func TestMutantsFit(t *testing.T) {
	for _, m := range mutants {
		m.overlay(t)
	}
}

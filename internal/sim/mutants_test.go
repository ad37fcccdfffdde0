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

func (m *mutant) hunt(t *testing.T) {
	cmd := exec.Command("go", "test", "-overlay", m.overlay(t), "-count=1", "-timeout=30m",
		"-run", "^TestSim$", "-v", ".", "-sim.seeds", strconv.FormatUint(m.seek, 10),
		"-sim.first", strconv.FormatUint(*firstFlag, 10), "-sim.whole")
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err == nil {
		t.Fatalf("not found within %d seeds:\n%s", m.seek, text)
	}
	found := regexp.MustCompile(`found after (\d+) seeds`).FindStringSubmatch(text)
	what := regexp.MustCompile(`(?m)^\s*FOUND: (.*)$`).FindStringSubmatch(text)
	if found == nil || what == nil {
		t.Fatalf("the run failed in another way:\n%s", text)
	}
	t.Logf("found after %s seeds: %s", found[1], what[1])
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

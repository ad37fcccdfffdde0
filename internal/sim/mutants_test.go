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
	mutantsFlag = flag.Bool("sim.mutants", false, "all mutants, not only the five of the first rank")
)

// A mutant is a mistake that somebody might make in the product. The simulator has to find
// each, else it would not find the mistake that somebody did make.
type mutant struct {
	name string
	file string // below the module's root
	old  string // stands there once
	new  string
	seek uint64 // seeds within which it must be found
	rank int    // 1: always tried
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
	cmd := exec.Command("go", "test", "-overlay", m.overlay(t), "-count=1", "-timeout=5m",
		"-run", "^TestSim$", "-v", ".", "-sim.seeds", strconv.FormatUint(m.seek, 10),
		"-sim.first", strconv.FormatUint(*firstFlag, 10))
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

// overlay writes the mutated file and the list that makes the go command use it.
func (m *mutant) overlay(t *testing.T) string {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		t.Fatalf("%s holds what is to be mutated %d times, not once: the mutant has to follow "+
			"the code:\n%s", m.file, n, m.old)
	}
	folder := t.TempDir()
	mutated := filepath.Join(folder, filepath.Base(m.file))
	text := strings.Replace(string(source), m.old, m.new, 1)
	if err := os.WriteFile(mutated, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(name, list, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

package conformance

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/conformance.md anew")

const document = "../../docs/conformance.md"

// A suite is a list of cases that somebody has published, or a mirror of one.
type suite struct {
	title  string
	note   string
	clause string // of cases that name none
	cases  []testCase
}

// A testCase is one line of the table.
type testCase struct {
	number, name, clause, test string
	level                      int    // of error recovery that it needs
	na                         string // why it does not apply
}

// level is the highest error recovery level that the product's initiator offers.
func level(t *testing.T) int {
	t.Helper()
	r := newRig(t, portals(2))
	q := r.operational(r.link())
	n, _ := valueOf("ErrorRecoveryLevel", keysOf(q)["ErrorRecoveryLevel"])
	return n
}

// needs skips a test of recovery that the initiator does not offer. The table
// says so as well.
func needs(t *testing.T, n int) {
	t.Helper()
	if level(t) < n {
		t.Skipf("the initiator does not offer error recovery level %d", n)
	}
}

// table is the document from the marker on.
func table(highest int) string {
	var b strings.Builder
	for _, s := range suites {
		passed, waiting, na := 0, 0, 0
		var lines strings.Builder
		for _, c := range s.cases {
			result := "pass"
			switch {
			case c.na != "":
				result = "does not apply: " + c.na
				na++
			case c.level > highest:
				result = fmt.Sprintf("waits for error recovery level %d", c.level)
				waiting++
			default:
				passed++
			}
			test := "`" + c.test + "`"
			if c.test == "" {
				test = "-"
			}
			fmt.Fprintf(&lines, "| %s | %s | %s | %s | %s |\n", c.number, c.name,
				cmp.Or(c.clause, s.clause), test, result)
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n%d cases: %d pass, %d wait, %d do not apply.\n\n", s.title, s.note,
			len(s.cases), passed, waiting, na)
		b.WriteString("| case | name | RFC 7143 | test | result |\n| --- | --- | --- | --- | --- |\n")
		b.WriteString(lines.String())
	}
	return b.String()
}

const marker = "<!-- what follows is written by `go test ./internal/conformance -run TestTable -update` -->\n"

// The table in the document is that of the suites, each test that it names is
// there, and each test of a case is in it.
func TestTable(t *testing.T) {
	want := table(level(t))
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), marker)
	if !ok {
		t.Fatalf("%s has no marker", document)
	}
	if *update {
		if err := os.WriteFile(document, []byte(head+marker+want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if rest != want {
		t.Errorf("%s is not up to date: go test ./internal/conformance -run TestTable -update", document)
	}
	tests := testsHere(t)
	named := map[string]bool{}
	for _, s := range suites {
		for _, c := range s.cases {
			if c.test == "" && c.na == "" {
				t.Errorf("case %s %s has no test", c.number, c.name)
			}
			if c.test != "" && !slices.Contains(tests, c.test) {
				t.Errorf("case %s %s names %s, which is not there", c.number, c.name, c.test)
			}
			named[c.test] = true
		}
	}
	for _, name := range tests {
		isCase := slices.ContainsFunc([]string{"TestLogin_", "TestCHAP_", "TestFFP_", "TestER_",
			"TestMC_"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if isCase && !named[name] {
			t.Errorf("%s is in no suite", name)
		}
	}
}

// testsHere lists the test functions of this package.
func testsHere(t *testing.T) (list []string) {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no test files", err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") {
				list = append(list, fn.Name.Name)
			}
		}
	}
	return list
}

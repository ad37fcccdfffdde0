// Package braid_test keeps the tree in the shape that ARCHITECTURE.md draws:
// formatting, what may import what, and sizes that a reader can hold.
package braid_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	maxLines   = 450 // of a file
	maxColumns = 100 // of a line
)

// imports says which of the module's own packages a package may import, and
// which others. "std" is the standard library.
var imports = map[string][]string{
	"barrier":      {"std"},
	"iscsi/pdu":    {"std"},
	"iscsi/scsi":   {"std"},
	"iscsi/login":  {"std", "braid/iscsi/pdu"},
	"iscsi":        {"std", "braid/iscsi/pdu", "braid/iscsi/login", "braid/iscsi/scsi"},
	"iscsi/target": {"std", "braid/iscsi/pdu", "braid/iscsi/login", "braid/iscsi/scsi"},
	"mpath":        {"std", "braid/barrier", "braid/iscsi/scsi"},
	"nbd":          {"std", "github.com/pojntfx/go-nbd/pkg/protocol"},
	"nbd/nbdnl": {"std", "golang.org/x/sys/unix", "github.com/pmorjan/kmod",
		"github.com/vishvananda/netlink", "github.com/vishvananda/netlink/nl"},
	"internal/loop":                    {"std", "golang.org/x/sys/unix"},
	"internal/conformance":             {"std"},
	"internal/fscheck":                 {"std", "golang.org/x/sys/unix"},
	"internal/fuzz":                    {"std"},
	"internal/fscheck/cmd/fscheck":     {"std", "braid/internal/fscheck"},
	"internal/logwrites":               {"std", "golang.org/x/sys/unix"},
	"internal/logwrites/cmd/logwrites": {"std", "braid/internal/logwrites"},
	"internal/stack":                   {"*"},
	"internal/sim":                     {"*"},
	"internal/sim/cmd/sim":             {"std", "braid/internal/sim"},
	"internal/vmtest":                  {"*"},
	"internal/bench":                   {"std", "github.com/pojntfx/go-nbd/pkg/protocol"},
	"internal/storm":                   {"std", "braid/internal/loop", "braid/iscsi/target"},
	"cmd/braid":                        {"*"},
	"cmd/braid/e2e":                    {"*"},
}

// engines start no goroutine, take no lock, read no clock and do no I/O.
var engines = []string{"barrier", "iscsi", "iscsi/pdu", "iscsi/scsi", "iscsi/login",
	"iscsi/target", "mpath", "nbd"}

// besideEngines are files in an engine's folder that are no part of it: the
// store that a file backs works in goroutines, behind the loop's inbox.
var besideEngines = []string{"iscsi/target/file.go"}

// noEngine are packages that an engine has no use for.
var noEngine = []string{"os", "sync", "log", "os/signal", "context"}

// errnos are the names of package syscall that an engine may use.
var errnos = regexp.MustCompile(`^(Errno|E[A-Z0-9]+)$`)

// noCalls are functions that an engine has no use for: clocks and sockets. The
// rest of time and net is arithmetic and parsing.
var noCalls = map[string][]string{
	"time": {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
	"net": {"Dial", "DialTimeout", "Dialer", "Listen", "ListenPacket", "ListenConfig", "LookupHost",
		"LookupIP", "ResolveTCPAddr", "Resolver", "DefaultResolver", "Interfaces"},
}

type source struct {
	path string
	data []byte
	test bool
}

func (s source) dir() string { return path.Dir(s.path) }

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := fs.WalkDir(os.DirFS("."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		data, err := os.ReadFile(p)
		all = append(all, source{p, data, strings.HasSuffix(p, "_test.go")})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d files found: run this in the module's root", len(all))
	}
	return all
}

func TestFormat(t *testing.T) {
	for _, s := range sources(t) {
		want, err := format.Source(s.data)
		if err != nil {
			t.Errorf("%s: %v", s.path, err)
		} else if !bytes.Equal(s.data, want) {
			t.Errorf("%s: gofmt would change it", s.path)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		lines := bytes.Split(bytes.TrimSuffix(s.data, []byte("\n")), []byte("\n"))
		if len(lines) > maxLines {
			t.Errorf("%s: %d lines, at most %d", s.path, len(lines), maxLines)
		}
		for i, l := range lines {
			if columns := utf8.RuneCount(l); columns > maxColumns {
				t.Errorf("%s:%d: %d columns, at most %d", s.path, i+1, columns, maxColumns)
			}
		}
	}
}

var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

func TestComments(t *testing.T) {
	for _, s := range sources(t) {
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, s.path, s.data, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range f.Comments {
			for _, c := range group.List {
				if unfinished.MatchString(c.Text) {
					t.Errorf("%v: %s", set.Position(c.Pos()), c.Text)
				}
			}
		}
	}
}

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, s.path, s.data, 0)
		if err != nil {
			t.Fatal(err)
		}
		engine := slices.Contains(engines, s.dir()) && !slices.Contains(besideEngines, s.path)
		allowed, known := imports[s.dir()]
		if !known {
			t.Errorf("%s: no rule says what %s may import", s.path, s.dir())
			continue
		}
		for _, spec := range f.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !mayImport(allowed, name) {
				t.Errorf("%v: %s may not import %s", set.Position(spec.Pos()), s.dir(), name)
			}
			if engine && slices.Contains(noEngine, name) {
				t.Errorf("%v: an engine has no use for %s", set.Position(spec.Pos()), name)
			}
		}
		if engine {
			checkEngine(t, set, f)
		}
	}
}

func mayImport(allowed []string, name string) bool {
	if slices.Contains(allowed, "*") || slices.Contains(allowed, name) {
		return true
	}
	first, _, _ := strings.Cut(name, "/")
	std := !strings.Contains(first, ".") && first != "braid"
	return std && slices.Contains(allowed, "std")
}

// checkEngine finds what makes an engine depend on more than its input: its own
// goroutines, clocks and sockets.
func checkEngine(t *testing.T, set *token.FileSet, f *ast.File) {
	t.Helper()
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.Errorf("%v: an engine starts no goroutine", set.Position(n.Pos()))
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok || x.Obj != nil {
				return true
			}
			if slices.Contains(noCalls[x.Name], n.Sel.Name) ||
				x.Name == "syscall" && !errnos.MatchString(n.Sel.Name) {
				t.Errorf("%v: an engine has no use for %s.%s", set.Position(n.Pos()), x.Name,
					n.Sel.Name)
			}
		}
		return true
	})
}

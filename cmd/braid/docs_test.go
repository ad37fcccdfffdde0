package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every line of a command of braid's that the documentation shows can be given as it is,
// with names in place of the words in capitals.
func TestDocumentedCommands(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	lines := 0
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range strings.Split(string(text), "\n```") {
			if i%2 == 0 {
				continue // between two blocks
			}
			for line := range strings.Lines(block) {
				line = strings.TrimPrefix(strings.TrimPrefix(line, "$ "), "sudo ")
				if words, ok := strings.CutPrefix(line, "braid "); ok {
					lines++
					checkDocumented(t, filepath.Base(file), commandWords(words))
				}
			}
		}
	}
	if lines < 10 {
		t.Errorf("only %d lines were found", lines)
	}
}

var (
	comment     = regexp.MustCompile(`(\s#|\s{2,}).*`)
	placeholder = strings.NewReplacer("IQN", "iqn.2001-04.com.example:disk", "HOST", "192.0.2.1",
		" URL", " iscsi://192.0.2.1/iqn.2001-04.com.example:disk/1", "on|off", "on")
)

// commandWords are a line's arguments, without what is said of it.
func commandWords(line string) []string {
	return strings.Fields(placeholder.Replace(comment.ReplaceAllString(line, "")))
}

func checkDocumented(t *testing.T, file string, args []string) {
	t.Helper()
	cmd, rest, err := newRoot().Find(args)
	if err == nil && !cmd.HasParent() {
		err = unknownCommand(args[0])
	}
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err == nil && cmd.Name() == "up" && strings.Contains(rest[0], "://") {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		given := NewFlags(flags)
		if err = flags.Parse(rest); err == nil {
			_, err = loadConfig(flags.Args(), given)
		}
	}
	if err == nil && cmd.Name() == "inquire" {
		_, err = ParseURL(cmd.Flags().Arg(0))
	}
	if err != nil {
		t.Errorf("%s: braid %s: %v", file, strings.Join(args, " "), err)
	}
}

// What stands between back quotes in the text of a flag, pflag takes for the name of its
// value.
func TestFlagTexts(t *testing.T) {
	var each func(cmd *cobra.Command)
	each = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if strings.Contains(f.Usage, "`") {
				t.Errorf("%s --%s: %s", cmd.CommandPath(), f.Name, f.Usage)
			}
		})
		for _, c := range cmd.Commands() {
			each(c)
		}
	}
	each(newRoot())
}

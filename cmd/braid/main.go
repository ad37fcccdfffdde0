// How many processors there are is looked up once: an idle daemon must not wake for that.

//go:debug updatemaxprocs=0

// Command braid makes one block device out of several network paths to one
// iSCSI LUN. See the README for what it promises and how it is used.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program: it gives the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	if err != nil && !errors.Is(err, errSaid) {
		fmt.Fprintf(stderr, "braid: %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	return exitCode(err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "braid",
		Short:         "One block device from several paths to one iSCSI LUN",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see %s --help)", err, cmd.CommandPath())
	})
	root.AddCommand(newUp(), newStatus(), newDown(), newDiscover(), newInquire(), newTarget(),
		newDemo(), newPath(), newQueue(), newResize())
	root.AddCommand(deployCommands()...)
	return root
}

func unknownCommand(name string) error {
	var names []string
	for _, c := range newRoot().Commands() {
		names = append(names, c.Name())
	}
	if near := nearest(name, names); near != "" {
		return usagef("unknown command %q; did you mean %q?", name, near)
	}
	return usagef("unknown command %q: braid --help lists them", name)
}

// argCount makes a check of the number of arguments whose error is a usage
// error. most < 0 means any number.
func argCount(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return usagef("%s takes %s (see %[1]s --help)", cmd.CommandPath(), what)
		}
		return nil
	}
}

// version is the module's version, or the commit that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

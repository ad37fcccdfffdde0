//go:build manual

package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// With the build tag "manual" the command writes its own manual pages and shell
// completions: what generates them is no part of the program that is installed.
func init() {
	if len(os.Args) == 3 && os.Args[1] == "manual" {
		if err := writeManual(os.Args[2]); err != nil {
			os.Stderr.WriteString("braid manual: " + err.Error() + "\n")
			os.Exit(exitFailed)
		}
		os.Exit(exitOK)
	}
}

// writeManual writes into man1, bash, zsh and fish of a folder.
func writeManual(folder string) error {
	root := newRoot()
	root.DisableAutoGenTag = true
	trimDescriptions(root)
	for _, sub := range []string{"man1", "bash", "zsh", "fish"} {
		if err := os.MkdirAll(folder+"/"+sub, 0o755); err != nil {
			return err
		}
	}
	// Built twice, the pages are the same: the date is the source's.
	at := time.Unix(0, 0)
	header := &doc.GenManHeader{Title: "BRAID", Section: "1", Source: "braid", Manual: "braid",
		Date: &at}
	if err := doc.GenManTree(root, header, folder+"/man1"); err != nil {
		return err
	}
	if err := root.GenBashCompletionFileV2(folder+"/bash/braid", true); err != nil {
		return err
	}
	if err := root.GenZshCompletionFile(folder + "/zsh/_braid"); err != nil {
		return err
	}
	return root.GenFishCompletionFile(folder+"/fish/braid.fish", true)
}

// trimDescriptions sets indented lines apart, which Markdown would run together.
func trimDescriptions(cmd *cobra.Command) {
	cmd.Long = strings.ReplaceAll(cmd.Long, "\n  ", "\n\n    ")
	for _, c := range cmd.Commands() {
		trimDescriptions(c)
	}
}

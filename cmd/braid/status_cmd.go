package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newStatus() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show a device, or all that run",
		Long: "Show a device and its paths, in the manner of `multipath -ll`. NAME may also be\n" +
			"the path of a control socket. Without NAME all devices that have their control\n" +
			"socket in the default folder are shown. JSON is an object with NAME, else a list.",
		Args: argCount(0, 1, "at most one NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := choose(&output, []byte(output), "table", "wide", "json"); err != nil {
				return usagef("--output: %w", err)
			}
			if len(args) == 1 {
				return statusOf(cmd, args[0], output)
			}
			return statusOfAll(cmd, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, wide or json")
	return cmd
}

func statusOf(cmd *cobra.Command, name, output string) error {
	path, err := controlPath(name)
	if err != nil {
		return err
	}
	s, raw, err := newControlClient(name, path).status(cmd.Context())
	if err != nil {
		return err
	}
	if output == "json" {
		return printJSON(cmd.OutOrStdout(), raw)
	}
	return renderTable(cmd.OutOrStdout(), s, output == "wide")
}

func statusOfAll(cmd *cobra.Command, output string) error {
	names, err := runningDevices()
	if err != nil {
		return err
	}
	var devices []Status
	raws := []json.RawMessage{}
	var failed error
	for _, name := range names {
		path, err := controlPath(name)
		if err != nil {
			continue // not the name of one of ours
		}
		s, raw, err := newControlClient(name, path).status(cmd.Context())
		var stale *notRunningError
		if errors.As(err, &stale) {
			continue // its socket outlived it
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		devices = append(devices, s)
		raws = append(raws, raw)
	}
	out := cmd.OutOrStdout()
	if output == "json" {
		all, err := json.Marshal(raws)
		if err != nil {
			return err
		}
		return errors.Join(printJSON(out, all), failed)
	}
	if len(devices) == 0 && failed == nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "no device is running")
	}
	for _, s := range devices {
		if err := renderTable(out, s, output == "wide"); err != nil {
			return err
		}
	}
	return failed
}

// printJSON writes a document indented, with a final newline.
func printJSON(w io.Writer, raw []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

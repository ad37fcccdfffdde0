package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// The states of a finding.
const (
	allRight = "ok"
	warned   = "warn"    // braid runs, but not as well as it could
	missing  = "missing" // braid, or one of its devices, cannot run like this
)

// A finding is what the doctor has to say about one thing.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"` // a command that mends it
}

// examinations are made in this order: what a later one needs comes first.
var examinations = []func(m *machine) []finding{
	examineKernel, examineDriver, examineDevices, examineRights,
	examineMemory, examineLimits, examineNetwork,
	examineInitiator, examineConfigs, examineKernelSessions,
	examineFolders, examineUnits, examineRules, examineMounts,
}

// deployCommands are those that concern the machine, not a device: doctor, and
// what units, rules and the package run.
func deployCommands() []*cobra.Command {
	return []*cobra.Command{newDoctor(), newIdle(), newUdev()}
}

func newDoctor() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine lacks to run braid, and what mends it",
		Long: "Look at the kernel, the rights, the limits, the configuration files and what\n" +
			"systemd and udev have of braid. What is wrong comes with the command that mends it.\n" +
			"Nothing is changed. The exit code is 1 if something is missing.",
		Args: argCount(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := choose(&output, []byte(output), "table", "json"); err != nil {
				return usagef("--output: %w", err)
			}
			m, err := thisMachine(cmd.Context())
			if err != nil {
				return err
			}
			return report(cmd.OutOrStdout(), examine(m), output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func examine(m *machine) []finding {
	var all []finding
	for _, e := range examinations {
		all = append(all, e(m)...)
	}
	return all
}

// report writes what was found; the error is errSaid if something is missing.
func report(w io.Writer, all []finding, output string) error {
	lacking := 0
	for _, f := range all {
		if f.State == missing {
			lacking++
		}
	}
	var err error
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		err = e.Encode(struct {
			OK     bool      `json:"ok"`
			Checks []finding `json:"checks"`
		}{lacking == 0, all})
	} else {
		err = writeFindings(w, all, lacking)
	}
	if err == nil && lacking > 0 {
		err = errSaid
	}
	return err
}

func writeFindings(w io.Writer, all []finding, lacking int) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, f := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.State, f.Check, f.Detail)
		if f.Remedy != "" {
			fmt.Fprintf(t, "\t\t-> %s\n", f.Remedy)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	switch lacking {
	case 0:
		b.WriteString("\nnothing is missing\n")
	case 1:
		b.WriteString("\n1 thing is missing\n")
	default:
		fmt.Fprintf(&b, "\n%d things are missing\n", lacking)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

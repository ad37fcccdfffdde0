package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"braid/iscsi"
)

// loginFlags are the settings that matter to a command that only logs in.
var loginFlags = []string{"chap_user", "chap_secret_file", "mutual_chap_user",
	"mutual_chap_secret_file", "initiator_name", "header_digest", "data_digest", "login_timeout"}

func newDiscover() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "discover [user@]HOST[:PORT]",
		Short: "List the targets of a portal (SendTargets)",
		Args:  argCount(1, 1, "one HOST[:PORT]"),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table",
		"table, json, or url: URLs for braid up, LUN 0, a line for each portal")
	flags := NewFlags(cmd.Flags(), loginFlags...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := choose(&output, []byte(output), "table", "json", "url"); err != nil {
			return usagef("--output: %w", err)
		}
		list, err := discover(args[0], flags)
		if err != nil {
			return explain(err)
		}
		return printTargets(cmd.OutOrStdout(), list, output)
	}
	return cmd
}

func discover(where string, flags *Flags) ([]iscsi.TargetRecord, error) {
	c := Defaults()
	if err := flags.Apply(&c); err != nil {
		return nil, err
	}
	u, err := parseDiscovery(where)
	if err != nil {
		return nil, usagef("%w", err)
	}
	c.URLs = URLs{u}
	initiator, cfg, err := c.passingSession(u)
	if err != nil {
		return nil, err
	}
	cfg.Offer.Discovery = true
	cfg.Offer.Auth.AllowNone = cfg.Offer.Auth.User != "" && cfg.Offer.Auth.MutualSecret == nil
	cfg.ISID = passingISID(initiator, "discover")
	t, err := newTalk(cfg)
	if err != nil {
		return nil, err
	}
	defer t.leave()
	return t.targets()
}

// passingSession prepares a session that serves no device: the initiator's
// name, and the session's configuration without an ISID.
func (c *Config) passingSession(u URL) (string, iscsi.Config, error) {
	if err := c.checkFlags(loginFlags); err != nil {
		return "", iscsi.Config{}, err
	}
	initiator, err := initiatorName(c.InitiatorName, stateFolder)
	if err != nil {
		return "", iscsi.Config{}, err
	}
	offer, err := c.newOffer(initiator, u)
	if err != nil {
		return "", iscsi.Config{}, err
	}
	return initiator, c.sessionConfig(offer, u), nil
}

// parseDiscovery reads [user@]HOST[:PORT].
func parseDiscovery(where string) (URL, error) {
	u, err := parseAuthority(where)
	if err != nil {
		return URL{}, err
	}
	if len(u.Portals) != 1 {
		return URL{}, fmt.Errorf("%q: one portal is asked at a time", where)
	}
	return u, nil
}

func printTargets(w io.Writer, list []iscsi.TargetRecord, output string) error {
	switch output {
	case "json":
		return printTargetsJSON(w, list)
	case "url":
		for _, t := range list {
			for _, p := range t.Portals {
				fmt.Fprintln(w, URL{Portals: []string{p.Address}, Target: t.Name})
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "PORTAL\tGROUP\tTARGET")
	for _, t := range list {
		for _, p := range t.Portals {
			group := "-"
			if p.TPGT >= 0 {
				group = fmt.Sprint(p.TPGT)
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", p.Address, group, t.Name)
		}
	}
	return table.Flush()
}

func printTargetsJSON(w io.Writer, list []iscsi.TargetRecord) error {
	type portal struct {
		Portal string `json:"portal"`
		TPG    *int   `json:"tpg"` // nil if the target did not tell
	}
	type target struct {
		Target  string   `json:"target"`
		Portals []portal `json:"portals"`
	}
	out := []target{}
	for _, t := range list {
		one := target{Target: t.Name, Portals: []portal{}}
		for _, p := range t.Portals {
			shown := portal{Portal: p.Address}
			if p.TPGT >= 0 {
				shown.TPG = &p.TPGT
			}
			one.Portals = append(one.Portals, shown)
		}
		out = append(out, one)
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return printJSON(w, raw)
}

// digestWord names what was negotiated for a digest.
func digestWord(on bool) string {
	if on {
		return "CRC32C"
	}
	return "none"
}

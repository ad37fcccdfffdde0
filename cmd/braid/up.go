package main

import (
	"github.com/spf13/cobra"
)

func newUp() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up NAME | URL... [flags]",
		Short: "Run a device in the foreground",
		Long: "Run a device in the foreground: by NAME from /etc/braid/NAME.toml, or by its URLs,\n" +
			"each a session of its own: iscsi://[user@]HOST[:3260][,HOST[:PORT]...]/TARGET-IQN/LUN\n" +
			"Several portals in one URL are the connections of one session (MC/S).\n" +
			"A name with a slash or .toml in it is the path of a configuration file.",
		Args: argCount(1, -1, "a NAME or URLs"),
	}
	flags := NewFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		_, err := loadConfig(args, flags)
		return err
	}
	return cmd
}

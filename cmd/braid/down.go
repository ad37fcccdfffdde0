package main

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"
)

func newDown() *cobra.Command {
	return &cobra.Command{
		Use:   "down NAME",
		Short: "Flush a device, log out and end its daemon",
		Long: "Flush a device, log out of its sessions and end its daemon. NAME may also be the\n" +
			"path of a control socket.",
		Args: argCount(1, 1, "one NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := controlPath(args[0])
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 2*downTimeout)
			defer cancel()
			_, err = newControlClient(args[0], path).do(ctx, http.MethodPost, "/v1/down")
			return err
		},
	}
}

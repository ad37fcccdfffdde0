package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func newPath() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "path add|remove|fail|reinstate NAME URL",
		Short: "Add, remove, fail or reinstate a path of a running device",
		Long: "Change the paths of a running device. NAME may also be the path of a control socket.\n" +
			"A path that there is may also be named by the number that `braid status` shows.",
		Args: func(_ *cobra.Command, args []string) error {
			return usagef("braid path takes add, remove, fail or reinstate, a NAME and a URL " +
				"(see braid path --help)")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(
		newPathAction("add", "Give a device one more path",
			"Give a device one more session. It is verified as every path is: it must lead to the\n"+
				"same LUN. It is not written into the configuration: the next daemon does not have it."),
		newPathAction("remove", "Take a path out of a device for good",
			"Take a path out of a device: its session is flushed and logs out. The only path of a\n"+
				"device cannot be removed. The configuration is left alone: the next daemon has it again."),
		newPathAction("fail", "Take a path out of service until it is reinstated",
			"Take a path out of service: its session is flushed and logs out, and it is not tried\n"+
				"again before `braid path reinstate`. If it is the last one, I/O waits as no_path says."),
		newPathAction("reinstate", "Put a path back into service",
			"Put a path back that was taken out of service, or is kept in reserve because it was\n"+
				"lost too often, or try one at once that is waited for. A path of a group that\n"+
				"waits for its turn takes I/O over, where failback does not give it back at once."))
	return cmd
}

func newPathAction(verb, short, long string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NAME URL",
		Short: short,
		Long:  long,
		Args:  argCount(2, 2, "a NAME and a URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			url, err := canonicalPath(args[1])
			if verb == "add" {
				var u URL
				u, err = ParseURL(args[1])
				url = u.String()
			}
			if err != nil {
				return usagef("%w", err)
			}
			return act(cmd, args[0], "/v1/path/"+verb, actionRequest{URL: url})
		},
	}
}

func newQueue() *cobra.Command {
	return &cobra.Command{
		Use:   "queue NAME on|off",
		Short: "Let I/O of a running device wait for a path, or fail",
		Long: "Change no_path of a running device: on lets I/O wait for ever when no path is left,\n" +
			"off fails what waits and what comes then. It holds until the daemon ends.",
		Args: argCount(2, 2, "a NAME, and on or off"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] != "on" && args[1] != "off" {
				return usagef("%q is neither on nor off", args[1])
			}
			return act(cmd, args[0], "/v1/queue", actionRequest{Mode: args[1]})
		},
	}
}

func newResize() *cobra.Command {
	return &cobra.Command{
		Use:   "resize NAME",
		Short: "Take over a larger capacity of the LUN",
		Long: "Ask every path of a running device for the capacity of the LUN again. If all of them\n" +
			"tell a larger one, the device grows. It never shrinks.",
		Args: argCount(1, 1, "one NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return act(cmd, args[0], "/v1/resize", actionRequest{})
		},
	}
}

// act has a device do something, and prints what it says of it.
func act(cmd *cobra.Command, name, path string, a actionRequest) error {
	socket, err := controlPath(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*actionTimeout)
	defer cancel()
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	c := newControlClient(name, socket)
	answer, err := c.send(ctx, http.MethodPost, path, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	var said actionAnswer
	if err := json.Unmarshal(answer, &said); err != nil {
		return fmt.Errorf("device %s: %w", name, err)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), said.Message)
	return err
}

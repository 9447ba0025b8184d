package main

import (
	"context"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
)

func (c *cli) circuitCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "circuit",
		Short: "Close or probe the circuits of destinations",
		Long: `A destination whose attempts fail in a row gets no further ones: its circuit is open, and
its deliveries are held. Probes find out by themselves when it works again. These commands
are for whoever knows it sooner.`,
		Args: noArguments, RunE: shell.NeedsSubCommand,
	}
	command.AddCommand(
		c.circuitAct("close", "Close circuits: what they held is released",
			func(ctx context.Context, server *client.Client, destination string) (hook.Circuit, error) {
				return server.CloseCircuit(ctx, destination)
			}),
		c.circuitAct("probe", "Probe destinations whose circuits are open, now",
			func(ctx context.Context, server *client.Client, destination string) (hook.Circuit, error) {
				return server.ProbeCircuit(ctx, destination)
			}),
	)
	return command
}

func (c *cli) circuitAct(
	use, short string, act func(ctx context.Context, server *client.Client, destination string) (hook.Circuit, error),
) *cobra.Command {
	command := &cobra.Command{Use: use + " DESTINATION…", Short: short, Args: shell.Several("the name or ID of a destination")}
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		for _, destination := range args {
			circuit, err := act(command.Context(), server, destination)
			if err != nil {
				return err
			}
			if c.JSON {
				err = c.PrintJSON(circuit)
			} else {
				err = c.Printf("The circuit of %s is %s.\n", destination, circuit.State)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

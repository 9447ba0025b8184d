package main

import (
	"github.com/spf13/cobra"

	"malote.dev/malote/internal/app"
	"malote.dev/malote/internal/config"
)

func (c *cli) serveCommand() *cobra.Command {
	return c.runner(&cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server: it receives webhooks at /in/{source}, delivers them, and serves the API
and the dashboard. It runs until it is told to stop (SIGINT, SIGTERM), and then finishes
what is in flight.`,
		Example: `  malote serve
  malote serve --listen :8420 --data /var/lib/malote --flows flows/`,
	}, false)
}

func (c *cli) demoCommand() *cobra.Command {
	return c.runner(&cobra.Command{
		Use:   "demo",
		Short: "Run the server with a shop that sends orders and an ERP that takes them",
		Long: `Run the server and, in the same process, both ends of an integration: a shop that sends
signed orders, and an ERP that receives them, signed, and is sometimes busy.`,
	}, true)
}

func (c *cli) runner(command *cobra.Command, demo bool) *cobra.Command {
	c.WithSettings(command, config.GroupFiles, config.GroupNetwork, config.GroupRunning)
	command.Args = noArguments
	command.RunE = func(command *cobra.Command, _ []string) error {
		settings, _, err := c.Settings(command)
		if err != nil {
			return err
		}
		return c.serve(command.Context(), settings, app.Options{Out: c.Out, Log: c.Err, Version: c.Version, Environ: c.Environ(), Demo: demo})
	}
	return command
}

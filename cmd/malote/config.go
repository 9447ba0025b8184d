package main

import (
	"github.com/spf13/cobra"

	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/telemetry"
)

func (c *cli) configCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "config",
		Short: "Print the effective settings and where each comes from",
		Long: `Print the effective settings and where each comes from: a flag, a MALOTE_… variable, the
configuration file, or the default. Secrets are masked.`,
		Args: noArguments,
	}
	c.WithSettings(command, config.GroupFiles, config.GroupNetwork, config.GroupRunning, config.GroupClient)
	command.RunE = func(command *cobra.Command, _ []string) error {
		settings, origins, err := c.Settings(command)
		if err != nil {
			return err
		}
		if !c.JSON {
			return settings.Write(c.Out, origins)
		}
		for _, each := range settings.List(origins) {
			if err := c.PrintJSON(each); err != nil {
				return err
			}
		}
		return nil
	}
	return c.WithJSON(command)
}

func (c *cli) versionCommand() *cobra.Command {
	command := &cobra.Command{Use: "version", Short: "Print the version", Args: noArguments}
	command.RunE = func(*cobra.Command, []string) error {
		build := telemetry.ReadBuild(c.Version)
		if c.JSON {
			return c.PrintJSON(build)
		}
		revision := ""
		if build.Revision != "" {
			revision = " (" + build.Revision + ")"
		}
		return c.Printf("malote %s%s %s %s\n", build.Version, revision, build.Go, build.Platform)
	}
	return c.WithJSON(command)
}

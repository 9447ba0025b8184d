package main

import (
	"strings"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/app"
	"malote.dev/malote/internal/shell"
)

func (c *cli) keyCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "key",
		Short: "Manage the key that seals secrets",
		Long: `Manage the key that seals secrets: what is set up lies in the database sealed with it, and
the key in the file secret.key beside it. These commands work on the data folder itself,
and never show a key.`,
		Args: noArguments, RunE: shell.NeedsSubCommand,
	}
	command.AddCommand(c.keyList(), c.keyRotate())
	return command
}

func (c *cli) keyList() *cobra.Command {
	command := &cobra.Command{
		Use:   "list",
		Short: "List the ids of the keys, the oldest first",
		Long: `List the ids of the keys, the oldest first, and when they were made if that is known. There
is more than one only when a rotation was interrupted: rotate again.`,
		Args: noArguments,
	}
	c.WithSettings(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		settings, _, err := c.Settings(command)
		if err != nil {
			return err
		}
		keys, err := app.Keys(settings)
		if err != nil {
			return err
		}
		rows := shell.NewTable("ID", "CREATED", "USE")
		for _, key := range keys {
			if c.JSON {
				if err := c.PrintJSON(key); err != nil {
					return err
				}
				continue
			}
			use := "opens what it sealed"
			if key.Current {
				use = "seals"
			}
			rows.Add(shell.Text(key.ID), c.Ago(key.CreatedAt), shell.Text(use))
		}
		if c.JSON {
			return nil
		}
		return rows.Write(c.Shell, "There are no keys.")
	}
	return c.WithJSON(command)
}

func (c *cli) keyRotate() *cobra.Command {
	command := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the key and seal everything anew, while the server is stopped",
		Long: `Make a new key, seal everything that is set up with it, and remove the old key. The server
has to be stopped. When the command is interrupted, the data stays readable: run it again.

A backup opens with the key file of its time alone, so keep the two together. Whoever had
the old key and the database may have read the secrets in it: change those, too.`,
		Args:    noArguments,
		Example: `  malote key rotate --data /var/lib/malote`,
	}
	c.WithSettings(command)
	command.RunE = func(command *cobra.Command, _ []string) error {
		settings, _, err := c.Settings(command)
		if err != nil {
			return err
		}
		done, err := app.RotateKey(command.Context(), settings)
		if err != nil {
			return err
		}
		if c.JSON {
			return c.PrintJSON(done)
		}
		retired := make([]string, 0, len(done.Retired))
		for _, key := range done.Retired {
			retired = append(retired, key.ID)
		}
		return c.Printf("Sealed %s with the new key %s and removed %s.\nBack the key file up again; earlier backups need the old one.\n",
			shell.Plural(done.Resealed, "spec"), done.Key.ID, strings.Join(retired, ", "))
	}
	return c.WithJSON(command)
}

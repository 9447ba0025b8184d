package main

import (
	"context"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/api/control"
	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
)

func (c *cli) keysCommand() *cobra.Command {
	list := c.keysList("keys")
	list.Long = `List the keys of ordered connections for which deliveries wait. Of each key one delivery
at a time is attempted, the head; a parked one waits for a person. Without a connection
the parked keys of all are listed.`
	list.Example = `  malote keys
  malote keys --connection orders-to-erp
  malote keys release --connection orders-to-erp customer-7`
	list.AddCommand(c.keysList("list"), c.keyRelease(), c.keySkip(), c.keyDrop())
	return list
}

func (c *cli) keysList(use string) *cobra.Command {
	connection, parked, limit := "", false, 0
	command := &cobra.Command{Use: use, Short: "List keys of ordered connections, and the parked ones", Args: noArguments}
	command.Flags().StringVar(&connection, "connection", "", "only of this `CONNECTION`: name or id")
	command.Flags().BoolVar(&parked, "parked", false, "only those whose head is parked")
	command.Flags().IntVar(&limit, "limit", shell.DefaultLimit, "how many at the most, as a `NUMBER`; 0 for all")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		if limit < 0 {
			return shell.WrongUsage(command, "--limit: %d is not a number of keys: write 0 for all", limit)
		}
		names, err := c.Names(command, server)
		if err != nil {
			return err
		}
		row := func(key hook.OrderedKey) []shell.Cell {
			state := shell.StateCell(key.HeadState)
			if key.Parked {
				state = shell.Cell{Text: "parked", Color: shell.Red}
			}
			count := shell.Text(key.Waiting)
			if key.Waiting >= hook.MaxCounted {
				count.Text += " or more"
			}
			return []shell.Cell{
				shell.Text(shell.Named(names.Connections, key.Connection)), shell.Text(key.Key), shell.Text(key.Head), state, count, {Text: key.Reason, Color: shell.Faint},
			}
		}
		table := shell.Columns[hook.OrderedKey]{Head: []string{"CONNECTION", "KEY", "HEAD", "STATE", "WAITING", "REASON"}, Row: row}
		nothing := "No key is parked."
		if connection != "" && !parked {
			nothing = "Nothing waits for a key."
		}
		return shell.Show(c.Shell, server.Keys(command.Context(), connection, parked, limit), table, nothing)
	}))
}

// decision is what a person does with keys.
type decision struct {
	use, short string
	reason     bool   // it takes one
	said       string // of one key, after it
	run        func(ctx context.Context, server *client.Client, connection string, key control.EndKeyIn) (control.KeyOut, error)
}

func (c *cli) keyRelease() *cobra.Command {
	return c.decide(&decision{
		use: "release", short: "Attempt the parked heads of keys again, now", said: "is released",
		run: func(ctx context.Context, server *client.Client, connection string, key control.EndKeyIn) (control.KeyOut, error) {
			return server.ReleaseKey(ctx, connection, key.Key)
		},
	})
}

func (c *cli) keySkip() *cobra.Command {
	return c.decide(&decision{
		use: "skip", short: "Cancel the heads of keys, so that the next deliveries go", reason: true, said: "goes on",
		run: func(ctx context.Context, server *client.Client, connection string, key control.EndKeyIn) (control.KeyOut, error) {
			return server.SkipKey(ctx, connection, key)
		},
	})
}

func (c *cli) keyDrop() *cobra.Command {
	return c.decide(&decision{
		use: "drop", short: "Cancel everything that waits for keys", reason: true, said: "is dropped",
		run: func(ctx context.Context, server *client.Client, connection string, key control.EndKeyIn) (control.KeyOut, error) {
			return server.DropKey(ctx, connection, key)
		},
	})
}

func (c *cli) decide(what *decision) *cobra.Command {
	connection, reason := "", ""
	command := &cobra.Command{Use: what.use + " --connection CONNECTION KEY…", Short: what.short, Args: shell.Several("the text of a key")}
	command.Flags().StringVar(&connection, "connection", "", "the `CONNECTION` that the keys are of: name or id (needed)")
	if what.reason {
		command.Flags().StringVar(&reason, "reason", "", "the `REASON`, in a sentence that stays with the deliveries that are canceled")
	}
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		if connection == "" {
			return shell.WrongUsage(command, "a connection is needed: write --connection and its name or id")
		}
		for _, key := range args {
			done, err := what.run(command.Context(), server, connection, control.EndKeyIn{Key: key, Reason: reason})
			if err != nil {
				return err
			}
			if c.JSON {
				err = c.PrintJSON(done)
			} else {
				err = c.Printf("The key %q %s: %s.\n", done.Key, what.said, shell.Plural(done.Deliveries, "delivery"))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

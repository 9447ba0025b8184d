package main

import (
	"time"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
)

func (c *cli) tokenCommand() *cobra.Command {
	command := &cobra.Command{Use: "token", Short: "Manage API tokens", Args: noArguments, RunE: shell.NeedsSubCommand}
	command.AddCommand(c.tokenCreate(), c.tokenList(), c.tokenRevoke())
	return command
}

func (c *cli) tokenCreate() *cobra.Command {
	name, role, expires := "", string(hook.RoleViewer), ""
	command := &cobra.Command{
		Use:   "create --name NAME [--role ROLE]",
		Short: "Create an API token and show it, once",
		Long: `Create an API token and show it, this once. Roles: viewer reads everything but secrets;
operator also retries, cancels, pauses and sends; admin also changes the catalogue and
tokens.`,
		Args:    noArguments,
		Example: `  malote token create --name ci --role admin --expires 90d`,
	}
	command.Flags().StringVar(&name, "name", "", "the `NAME` of who uses the token (needed)")
	command.Flags().StringVar(&role, "role", role, "the `ROLE`, what it may do: viewer, operator or admin")
	command.Flags().StringVar(&expires, "expires", "", "how long it works, a `DURATION` such as 90d; without it, for ever")
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		request := api.TokenIn{Name: name, Role: hook.Role(role)}
		switch {
		case name == "":
			return shell.WrongUsage(command, "a name is needed: write --name and who uses the token")
		case !request.Role.Valid():
			return shell.WrongUsage(command, "%q is not a role: write viewer, operator or admin", role)
		case expires != "":
			span, err := hook.ParseDuration(expires)
			if err != nil {
				return shell.WrongUsage(command, "--expires: %s", err)
			}
			end := c.Now().Add(time.Duration(span))
			request.ExpiresAt = &end
		}
		created, err := server.CreateToken(command.Context(), request)
		if err != nil {
			return err
		}
		if c.JSON {
			return c.PrintJSON(created)
		}
		return c.Printf("%s\nIt is shown this once. Its id is %s, its role %s.\n", created.Text, created.ID, created.Role)
	}))
}

func (c *cli) tokenList() *cobra.Command {
	command := &cobra.Command{Use: "list", Short: "List API tokens", Args: noArguments}
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, _ []string) error {
		rows := shell.NewTable("ID", "NAME", "ROLE", "CREATED", "LAST USED", "EXPIRES")
		for token, err := range server.Tokens(command.Context()) {
			switch {
			case err != nil:
				return err
			case c.JSON:
				if err := c.PrintJSON(token); err != nil {
					return err
				}
			default:
				rows.Add(shell.Text(token.ID), shell.Text(token.Name), shell.Text(token.Role), c.Ago(token.CreatedAt),
					c.Ago(shell.Or(token.LastUsedAt)), c.Ago(shell.Or(token.ExpiresAt)))
			}
		}
		if c.JSON {
			return nil
		}
		return rows.Write(c.Shell, "There are no tokens.")
	}))
}

func (c *cli) tokenRevoke() *cobra.Command {
	command := &cobra.Command{Use: "revoke ID", Short: "Revoke an API token at once", Args: shell.One("the ID of a token")}
	return c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		if err := server.RevokeToken(command.Context(), args[0]); err != nil {
			return err
		}
		return c.Printf("Revoked %s.\n", args[0])
	})
}

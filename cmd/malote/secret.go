package main

import (
	"strings"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/shell"
)

func (c *cli) secretCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "secret DESTINATION",
		Short: "Show what a destination verifies its deliveries with",
		Long: `Show what the receiver at a destination verifies its deliveries with: the signing secret,
all of them while rotating, the newest first; or the public key of an Ed25519 signature.`,
		Args: shell.One("the name or id of a destination"),
	}
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		secret, err := server.SigningSecret(command.Context(), args[0])
		switch {
		case err != nil:
			return err
		case c.JSON:
			return c.PrintJSON(secret)
		case secret.PublicKey != "":
			return c.Printf("%s\n", secret.PublicKey)
		default:
			return c.Printf("%s\n", strings.Join(secret.Secrets, "\n"))
		}
	}))
}

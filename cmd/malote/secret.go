package main

import (
	"strings"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/client"
)

func (c *cli) secretCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "secret DESTINATION",
		Short: "Show what a destination verifies its deliveries with",
		Long: `Show what the receiver at a destination verifies its deliveries with: the signing secret,
all of them while rotating, the newest first; or the public key of an Ed25519 signature.`,
		Args: one("the name or id of a destination"),
	}
	return c.withJSON(c.withServer(command, func(command *cobra.Command, server *client.Client, args []string) error {
		secret, err := server.SigningSecret(command.Context(), args[0])
		switch {
		case err != nil:
			return err
		case c.json:
			return c.printJSON(secret)
		case secret.PublicKey != "":
			return c.printf("%s\n", secret.PublicKey)
		default:
			return c.printf("%s\n", strings.Join(secret.Secrets, "\n"))
		}
	}))
}

package main

import (
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/app"
	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/hook"
)

// remote is the work of a command that talks to a server.
type remote func(command *cobra.Command, api *client.Client, args []string) error

// withServer makes a command talk to a server.
func (c *cli) withServer(command *cobra.Command, work remote) *cobra.Command {
	c.withSettings(command, config.GroupClient)
	command.RunE = func(command *cobra.Command, args []string) error {
		api, err := c.connect(command)
		if err != nil {
			return err
		}
		return work(command, api, args)
	}
	return command
}

// withJSON gives a command the flag --json.
func (c *cli) withJSON(command *cobra.Command) *cobra.Command {
	command.Flags().BoolVar(&c.json, "json", false, "print JSON for programs, one value a line")
	return command
}

// connect returns a client of the server that the settings name.
func (c *cli) connect(command *cobra.Command) (*client.Client, error) {
	settings, origins, err := c.settings(command)
	if err != nil {
		return nil, err
	}
	if origins["server"] == "default" && origins["listen"] != "default" {
		settings.Server = local(&settings)
	}
	token, hint, err := c.token(&settings)
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{Server: settings.Server, Token: token, TokenHint: hint, Version: c.version})
}

// local is where a server with these settings is reached from this machine.
func local(settings *config.Settings) string {
	scheme := "http://"
	if settings.TLSCert != "" {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(settings.Listen)
	if err != nil {
		return scheme + settings.Listen
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return scheme + net.JoinHostPort(host, port)
}

// token returns the API token, and what to tell somebody whose token is not accepted.
func (c *cli) token(settings *config.Settings) (token hook.Secret, hint string, err error) {
	if settings.Token != "" {
		return settings.Token, "an admin makes new ones with \"malote token create\"", nil
	}
	name := filepath.Join(settings.Data, app.AdminTokenFile)
	data, err := c.readFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "the server's first start writes one to the file " + app.AdminTokenFile + " of its data folder (there is none in " +
			settings.Data + ": name the folder by MALOTE_DATA)", nil
	case errors.Is(err, fs.ErrPermission):
		return "", "the file " + name + " has one, but only its owner may read it", nil
	case err != nil:
		return "", "", hook.Errorf(hook.KindInvalid, "the API token in %s cannot be read: %w", name, err)
	}
	return hook.Secret(strings.TrimSpace(string(data))), "the one in " + name +
		" was used: if it was revoked, another admin makes a new one with \"malote token create\", or, where no admin is left, the next start of the server", nil
}

package shell

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

// Remote is the work of a command that talks to a server.
type Remote func(command *cobra.Command, api *client.Client, args []string) error

// WithServer makes a command talk to a server.
func (s *Shell) WithServer(command *cobra.Command, work Remote) *cobra.Command {
	s.WithSettings(command, config.GroupClient)
	command.RunE = func(command *cobra.Command, args []string) error {
		api, err := s.Connect(command)
		if err != nil {
			return err
		}
		return work(command, api, args)
	}
	return command
}

// WithJSON gives a command the flag --json.
func (s *Shell) WithJSON(command *cobra.Command) *cobra.Command {
	command.Flags().BoolVar(&s.JSON, "json", false, "print JSON for programs, one value a line")
	return command
}

// Connect returns a client of the server that the settings name.
func (s *Shell) Connect(command *cobra.Command) (*client.Client, error) {
	settings, origins, err := s.Settings(command)
	if err != nil {
		return nil, err
	}
	if origins["server"] == "default" && origins["listen"] != "default" {
		settings.Server = local(&settings)
	}
	token, hint, err := s.token(&settings)
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{Server: settings.Server, Token: token, TokenHint: hint, Version: s.Version})
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
func (s *Shell) token(settings *config.Settings) (token hook.Secret, hint string, err error) {
	if settings.Token != "" {
		return settings.Token, "an admin makes new ones with \"malote token create\"", nil
	}
	name := filepath.Join(settings.Data, app.AdminTokenFile)
	data, err := s.ReadFile(name)
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

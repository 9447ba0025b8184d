package shell

import (
	"github.com/spf13/cobra"

	"malote.dev/malote/internal/config"
)

// setting is the flag of one setting. It only notes what was given: the precedence of
// flags, variables and file is package config's.
type setting struct {
	shell *Shell
	field config.Field
}

// String implements pflag.Value.
func (s *setting) String() string { return s.field.Default }

// Set implements pflag.Value.
func (s *setting) Set(text string) error {
	if s.shell.given == nil {
		s.shell.given = map[string][]string{}
	}
	s.shell.given[s.field.Key] = append(s.shell.given[s.field.Key], text)
	return nil
}

// Type implements pflag.Value.
func (s *setting) Type() string {
	if s.field.Switch {
		return "bool"
	}
	return s.field.Metavar
}

// WithSettings gives a command the flags of some groups of settings.
func (s *Shell) WithSettings(command *cobra.Command, groups ...string) {
	for _, field := range config.Fields() {
		chosen := field.Key == "config" || field.Key == "data"
		for _, group := range groups {
			chosen = chosen || field.Group == group
		}
		if !chosen || command.Flags().Lookup(field.Key) != nil {
			continue
		}
		help := field.Help + " (" + field.Env + ")"
		command.Flags().Var(&setting{shell: s, field: field}, field.Key, help)
		if field.Switch {
			command.Flags().Lookup(field.Key).NoOptDefVal = "true"
		}
	}
}

// Settings returns the effective settings of a command.
func (s *Shell) Settings(command *cobra.Command) (config.Settings, config.Origins, error) {
	settings, origins, err := config.Load(config.Input{Flags: s.given, LookupEnv: s.LookupEnv, ReadFile: s.ReadFile})
	if err != nil {
		return settings, origins, Misused(command, err)
	}
	return settings, origins, nil
}

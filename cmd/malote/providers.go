package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
	"malote.dev/malote/internal/signature"
	"malote.dev/malote/internal/signature/profiles"
	"malote.dev/malote/internal/strict"
)

func (c *cli) providersCommand() *cobra.Command {
	list := c.providerList("providers")
	list.Example = `  malote providers brazil
  malote providers show mercadopago`
	list.AddCommand(c.providerList("list"), c.providerShow())
	return list
}

// gallery returns the built-in profiles and those of the profiles folder.
func (c *cli) gallery(command *cobra.Command) (*profiles.Gallery, error) {
	settings, _, err := c.Settings(command)
	if err != nil {
		return nil, err
	}
	if settings.Profiles == "" {
		return signature.NewGallery()
	}
	return signature.NewGallery(os.DirFS(settings.Profiles))
}

func (c *cli) providerList(use string) *cobra.Command {
	command := &cobra.Command{
		Use: use + " [WORD…]", Short: "List the providers whose webhooks are understood", Args: cobra.ArbitraryArgs,
		Long: `List the providers whose webhooks are understood: the built-in ones and those of the
profiles folder. Words select by name, title and tag. No server is needed.`,
	}
	c.WithSettings(command, config.GroupFiles)
	command.RunE = func(command *cobra.Command, args []string) error {
		gallery, err := c.gallery(command)
		if err != nil {
			return err
		}
		rows := shell.NewTable("NAME", "TITLE", "TAGS", "")
		for _, profile := range gallery.Profiles() {
			if !mentions(profile, args) {
				continue
			}
			if c.JSON {
				if err := c.PrintJSON(profile); err != nil {
					return err
				}
				continue
			}
			rows.Add(shell.Text(profile.Name), shell.Text(profile.Title), shell.Cell{Text: strings.Join(profile.Tags, ", "), Color: shell.Faint}, confirmed(profile))
		}
		if c.JSON {
			return nil
		}
		return rows.Write(c.Shell, "No provider fits. A profile file of your own adds one: see --profiles.")
	}
	return c.WithJSON(command)
}

func confirmed(profile *profiles.Profile) shell.Cell {
	if profile.Confirmed {
		return shell.Cell{}
	}
	return shell.Cell{Text: "unconfirmed", Color: shell.Yellow}
}

// mentions reports whether every word is in the profile's name, title or tags.
func mentions(profile *profiles.Profile, words []string) bool {
	all := strings.ToLower(profile.Name + " " + profile.Title + " " + strings.Join(profile.Tags, " "))
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(all, strings.ToLower(word)) })
}

func (c *cli) providerShow() *cobra.Command {
	command := &cobra.Command{
		Use: "show NAME", Short: "Show what a source of a provider needs, with a flow to begin with", Args: shell.One("the NAME of a provider"),
	}
	c.WithSettings(command, config.GroupFiles)
	command.ValidArgsFunction = func(command *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		gallery, err := c.gallery(command)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return gallery.Names(), cobra.ShellCompDirectiveNoFileComp
	}
	command.RunE = func(command *cobra.Command, args []string) error {
		gallery, err := c.gallery(command)
		if err != nil {
			return err
		}
		profile, ok := gallery.Profile(args[0])
		if !ok {
			return hook.Errorf(hook.KindNotFound, "no provider %q%s", args[0], strict.Suggest(args[0], gallery.Names()))
		}
		if c.JSON {
			return c.PrintJSON(profile)
		}
		return c.showProvider(profile)
	}
	return c.WithJSON(command)
}

func (c *cli) showProvider(profile *profiles.Profile) error {
	english := !c.portuguese()
	d := &shell.Details{}
	d.Add("name", shell.Text(profile.Name))
	d.Add("title", shell.Text(profile.Title))
	if !profile.Confirmed {
		d.Add("", shell.Cell{Text: "unconfirmed: not checked at the provider yet", Color: shell.Yellow})
	}
	if profile.Docs != "" {
		d.Add("docs", shell.Text(profile.Docs))
	}
	if profile.Notes != nil {
		d.Add("notes", shell.Text(in(*profile.Notes, english)))
	}
	if profile.Secret != nil {
		d.Add("secret", shell.Text(in(profile.Secret.Label, english)+": "+in(profile.Secret.Help, english)))
	}
	for _, setting := range profile.Settings {
		d.Add(setting.Name, shell.Text(in(setting.Label, english)+": "+in(setting.Help, english)))
	}
	if profile.Retry != nil {
		d.Add("retries", shell.Text(in(*profile.Retry, english)))
	}
	if err := d.Write(c.Shell); err != nil {
		return err
	}
	return c.Printf("\n%s", starter(profile))
}

// portuguese reports whether the person's locale is.
func (c *cli) portuguese() bool {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if value, ok := c.LookupEnv(name); ok && value != "" {
			return strings.HasPrefix(value, "pt")
		}
	}
	return false
}

func in(both profiles.Text, english bool) string {
	if english {
		return both.En
	}
	return both.Pt
}

// starter is a flow with one source of the provider.
func starter(profile *profiles.Profile) string {
	var b strings.Builder
	b.WriteString("sources:\n  " + profile.Name + ":\n    provider: " + profile.Name + "\n")
	if profile.Secret != nil {
		b.WriteString("    secret: ${" + strings.ToUpper(strings.Map(underscore, profile.Name)) + "_SECRET}\n")
	}
	if len(profile.Settings) > 0 {
		b.WriteString("    settings:\n")
	}
	for _, setting := range profile.Settings {
		value := setting.Default
		if value == "" {
			value = setting.Example
		}
		b.WriteString("      " + setting.Name + ": " + quoteYAML(value) + "\n")
	}
	return b.String()
}

func underscore(r rune) rune {
	if (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') {
		return r
	}
	return '_'
}

func quoteYAML(value string) string { return "'" + strings.ReplaceAll(value, "'", "''") + "'" }

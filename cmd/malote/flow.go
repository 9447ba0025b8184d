package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"malote.dev/malote/internal/app"
	"malote.dev/malote/internal/client"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
)

// planner is what plan and apply share.
type planner struct {
	path  string
	prune bool

	call func(*client.Client, context.Context, flow.Request) (flow.Plan, error)
	done string // what is said when the call changed something
}

func (p *planner) flags(command *cobra.Command) {
	command.Flags().StringVarP(&p.path, "file", "f", "", "flow file, or folder of flow files: a `PATH` (needed)")
	command.Flags().BoolVar(&p.prune, "prune", false, "delete what the flow does not mention")
	_ = command.MarkFlagFilename("file", "yaml", "yml") // the flag exists: it was made above
}

// read parses the flow. What only the server can judge, it judges itself.
func (p *planner) read(c *cli, command *cobra.Command) (*flow.Flow, error) {
	if p.path == "" {
		return nil, shell.WrongUsage(command, "a flow is needed: write -f and the file or folder")
	}
	files, err := flow.ReadFiles(p.path)
	if err != nil {
		return nil, err
	}
	return flow.Parse(files, flow.Options{Lookup: c.LookupEnv, Rules: app.OfflineRules()})
}

func (c *cli) planCommand() *cobra.Command {
	p := &planner{call: (*client.Client).Plan}
	command := &cobra.Command{
		Use:     "plan -f PATH",
		Short:   "Show what applying flow files would change",
		Args:    noArguments,
		Example: `  malote plan -f flows/`,
	}
	p.flags(command)
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, api *client.Client, _ []string) error {
		return c.flow(command, api, p)
	}))
}

func (c *cli) applyCommand() *cobra.Command {
	p := &planner{call: (*client.Client).Apply, done: "Applied.\n"}
	command := &cobra.Command{
		Use:   "apply -f PATH",
		Short: "Make the catalogue what flow files say",
		Long: `Make the sources, destinations and connections what flow files say. All changes are made,
or none. What the files do not mention stays, unless --prune is given. Secrets come from
the environment (${NAME}) or from files (${file:/path}).`,
		Args:    noArguments,
		Example: `  SHOP_SECRET=… malote apply -f flows/`,
	}
	p.flags(command)
	return c.WithJSON(c.WithServer(command, func(command *cobra.Command, api *client.Client, _ []string) error {
		return c.flow(command, api, p)
	}))
}

// flow reads a flow, hands it to the server, and shows the plan.
func (c *cli) flow(command *cobra.Command, api *client.Client, p *planner) error {
	parsed, err := p.read(c, command)
	if err != nil {
		return everything(command, api, parsed, err)
	}
	plan, err := p.call(api, command.Context(), flow.Request{State: parsed.State(), Prune: p.prune})
	if err != nil {
		return parsed.Locate(err)
	}
	if c.JSON {
		return c.PrintJSON(plan)
	}
	if plan.Empty() {
		return c.Printf("%s", plan.Text())
	}
	return c.Printf("%s%s", plan.Text(), p.done)
}

// everything asks the server for all mistakes of a flow in which some were found here, so
// that they are shown at once. Where it cannot say, those found here are shown.
func everything(command *cobra.Command, api *client.Client, parsed *flow.Flow, found error) error {
	if parsed == nil {
		return found
	}
	_, err := api.Plan(command.Context(), flow.Request{State: parsed.State()})
	invalid, here := (*hook.Error)(nil), (*hook.Error)(nil)
	if errors.As(err, &invalid) && errors.As(found, &here) && len(invalid.Problems) >= len(here.Problems) {
		return parsed.Locate(err)
	}
	return found
}

func (c *cli) exportCommand() *cobra.Command {
	path := ""
	command := &cobra.Command{
		Use:   "export [-o FILE]",
		Short: "Write the catalogue as a flow file, without its secrets",
		Args:  noArguments,
	}
	command.Flags().StringVarP(&path, "output", "o", "", "write this `FILE`, which must not exist, in place of the standard output")
	return c.WithServer(command, func(command *cobra.Command, api *client.Client, _ []string) error {
		if path == "" {
			return api.Export(command.Context(), c.Out)
		}
		var b bytes.Buffer
		if err := api.Export(command.Context(), &b); err != nil {
			return err
		}
		return writeNew(path, b.Bytes())
	})
}

// writeNew writes a file that does not exist yet.
func writeNew(path string, data []byte) (err error) {
	file, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return hook.Errorf(hook.KindConflict, "%s exists already: remove it, or choose another name", path)
	}
	if err != nil {
		return fmt.Errorf("write the flow: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(data); err != nil {
		return fmt.Errorf("write the flow: %w", err)
	}
	return nil
}

func (c *cli) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of flow files, for editors",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := c.Out.Write(flow.Schema())
			return err
		},
	}
}

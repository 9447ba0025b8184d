package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"malote.dev/malote/internal/filter"
	"malote.dev/malote/internal/hook"
)

// builder makes one snapshot, with the parts of the one before that did not change.
type builder struct {
	options *Options
	before  *Snapshot
	next    *Snapshot
}

func (b *builder) build(ctx context.Context, catalogue *hook.Catalogue) *Snapshot {
	b.next.revision = catalogue.Revision
	for i := range catalogue.Destinations {
		b.destination(ctx, &catalogue.Destinations[i])
	}
	var named hook.ProjectID
	for i := range catalogue.Projects {
		if catalogue.Projects[i].Name == DefaultProject {
			named = catalogue.Projects[i].ID
		}
	}
	for i := range catalogue.Sources {
		source := b.source(ctx, &catalogue.Sources[i])
		source.Path = PathOf(&source.Source, named)
		b.next.sources[source.ID] = source
		if source.Project == named {
			b.next.byName[source.Name] = source
		}
		if source.System {
			b.next.system[source.Project] = source
		}
	}
	inOrder := make([]*hook.Connection, len(catalogue.Connections))
	for i := range catalogue.Connections {
		inOrder[i] = &catalogue.Connections[i]
	}
	slices.SortFunc(inOrder, func(a, b *hook.Connection) int { return cmp.Compare(a.ID, b.ID) })
	for _, connection := range inOrder {
		b.connect(ctx, connection)
	}
	return b.next
}

// destination makes a destination's quiet hours ready, or takes those of the same version.
func (b *builder) destination(ctx context.Context, noun *hook.Destination) {
	b.next.destinations[noun.ID] = noun
	if noun.Quiet == nil {
		return
	}
	if old, ok := b.before.destinations[noun.ID]; ok && old.Version == noun.Version {
		b.next.quiet[noun.ID] = b.before.quiet[noun.ID]
		return
	}
	hours, err := noun.Quiet.Hours()
	if err != nil {
		b.options.Logger.LogAttrs(ctx, slog.LevelWarn, "the quiet hours of the destination cannot be kept, so it has none",
			slog.String("destination", noun.ID.String()), slog.String("name", noun.Name), slog.Any("error", err))
	}
	b.next.quiet[noun.ID] = hours
}

// source compiles a source, or takes what was compiled of the same version.
func (b *builder) source(ctx context.Context, noun *hook.Source) *Source {
	if old, ok := b.before.sources[noun.ID]; ok && old.Version == noun.Version {
		reused := *old
		reused.Source, reused.index = *noun, index{}
		return &reused
	}
	source := &Source{Source: *noun, Effective: noun.SourceSpec}
	source.Problem = b.compileSource(source)
	if source.Problem != nil {
		source.Verifier = nil
		b.options.Logger.LogAttrs(ctx, slog.LevelWarn, "the source cannot be used as it is set up",
			slog.String("source", noun.ID.String()), slog.String("name", noun.Name), slog.Any("error", source.Problem))
	}
	return source
}

var errEndGone = errors.New("its source or destination is gone")

var errNoVerifier = errors.New("this server does not verify requests")

func (b *builder) compileSource(source *Source) (err error) {
	source.Confidential = newConfidential(source.Verify)
	if source.System {
		return nil // nothing is received there, so there is nothing to verify
	}
	if b.options.Compile == nil {
		return errNoVerifier
	}
	if source.Verifier, err = b.options.Compile(&source.SourceSpec); err != nil {
		return err
	}
	source.Effective = source.Verifier.Spec()
	source.Confidential = newConfidential(source.Effective.Verify)
	source.Reply = compileReply(source.Effective.Reply)
	if source.fields.eventType, err = filter.CompileField(source.Effective.Type); err != nil {
		return fmt.Errorf("type: %w", err)
	}
	if source.fields.key, err = filter.CompileField(source.Effective.Key); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if dedupe := source.Effective.Dedupe; dedupe != nil && !dedupe.Off {
		if source.fields.dedupe, err = filter.CompileField(&dedupe.Field); err != nil {
			return fmt.Errorf("dedupe: %w", err)
		}
	}
	return nil
}

// connect compiles a connection and puts it where its source finds it.
func (b *builder) connect(ctx context.Context, noun *hook.Connection) {
	connection := &Connection{Connection: *noun, To: b.next.destinations[noun.Destination], quietTo: b.next.quiet[noun.Destination]}
	old, seen := b.before.connections[noun.ID]
	unchanged := seen && old.Version == noun.Version
	if unchanged {
		connection.compiled = old.compiled
	} else {
		connection.compiled = compileConnection(&noun.ConnectionSpec)
	}
	source, ok := b.next.sources[noun.Source]
	connection.Problem = connection.compiled.problem
	if connection.Problem == nil && (!ok || connection.To == nil) {
		connection.Problem = errEndGone
	}
	if connection.Problem != nil && !unchanged {
		b.options.Logger.LogAttrs(ctx, slog.LevelWarn, "the connection cannot be used as it is set up",
			slog.String("connection", noun.ID.String()), slog.String("name", noun.Name), slog.Any("error", connection.Problem))
	}
	b.next.connections[noun.ID] = connection
	if ok && !noun.Disabled {
		source.index.add(connection)
	}
}

// compileConnection compiles what does not depend on anything else in the catalogue.
func compileConnection(spec *hook.ConnectionSpec) (c compiled) {
	c.types = filter.CompileTypes(spec.Types)
	if spec.Filter != "" {
		c.filter, c.problem = filter.Compile(spec.Filter)
	}
	if spec.Order != nil && c.problem == nil {
		if c.order, c.problem = filter.CompileText(spec.Order.Key); c.problem != nil {
			c.problem = fmt.Errorf("order.key: %w", c.problem)
		}
	}
	if spec.Quiet != nil && c.problem == nil {
		c.quiet, c.problem = spec.Quiet.Hours()
	}
	return c
}

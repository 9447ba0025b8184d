package app

import (
	"context"
	"fmt"
	"os"

	"malote.dev/malote/internal/demo"
	"malote.dev/malote/internal/flow"
)

// applyFlows makes the catalogue what the flow files say that were given at the
// start, and the demo's. Nothing is deleted: what the files do not mention stays.
func (s *server) applyFlows(ctx context.Context) error {
	if s.settings.Flows != "" {
		files, err := flow.ReadFiles(s.settings.Flows)
		if err != nil {
			return err
		}
		if err := s.apply(ctx, files, os.LookupEnv); err != nil {
			return err
		}
	}
	if s.demo != nil {
		if err := s.apply(ctx, []flow.File{{Name: demo.FlowName, Data: demo.Flow}}, s.demo.Lookup); err != nil {
			return err
		}
	}
	return s.router.Reload(ctx)
}

func (s *server) apply(ctx context.Context, files []flow.File, lookup func(string) (string, bool)) error {
	parsed, err := flow.Parse(files, flow.Options{Lookup: lookup, Rules: s.rules()})
	if err != nil {
		return err
	}
	catalogue, err := s.store.Catalogue(ctx)
	if err != nil {
		return fmt.Errorf("read the catalogue: %w", err)
	}
	plan, err := parsed.Plan(s.project, catalogue, false)
	if err != nil {
		return err
	}
	for _, warning := range plan.Warnings {
		s.logger.Warn("the flow has a remark", "flow", files[0].Name, "remark", warning)
	}
	if plan.Empty() {
		return nil
	}
	if err := s.store.Apply(ctx, s.project, plan.Changes); err != nil {
		return fmt.Errorf("apply the flow: %w", err)
	}
	for _, item := range plan.Items {
		s.logger.Info("flow applied", "change", item.Op, "noun", item.Noun, "name", item.Name)
	}
	return nil
}

// warn names the destinations that cannot be used as this server is set up, for whoever
// starts it without a setting that it had before.
func (s *server) warn(ctx context.Context) error {
	catalogue, err := s.store.Catalogue(ctx)
	if err != nil {
		return fmt.Errorf("read the catalogue: %w", err)
	}
	for i := range catalogue.Destinations {
		dst := &catalogue.Destinations[i]
		if err := s.webhooks.Check(&dst.DestinationSpec); err != nil {
			s.logger.Warn("a destination cannot be used as it is set up", "destination", dst.ID.String(), "name", dst.Name, "error", err)
		}
	}
	return nil
}

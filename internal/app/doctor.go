package app

import (
	"context"

	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/store/sqlite/check"
)

// Report is what Doctor found out about a data folder.
type Report = check.Report

// Doctor looks for whatever could be wrong with the data that the settings name. It
// changes nothing and works beside a running server.
func Doctor(ctx context.Context, settings config.Settings) (Report, error) {
	return check.Folder(ctx, settings.Data)
}

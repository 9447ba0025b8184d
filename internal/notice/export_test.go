package notice

import (
	"context"
	"time"
)

// Look looks at everything once.
func (w *Watcher) Look(ctx context.Context, now time.Time) { w.look(ctx, now) }

package deliver

import (
	"fmt"
	"time"
)

// stalled is how long deliveries may be ready to leave without any attempt having
// ended. It is more than two of the longest attempts, so that slow destinations alone
// never reach it.
const stalled = 5 * time.Minute

// Ready fails when deliveries could leave and none does, which nothing but a defect or
// a starved machine explains: an operator should look.
func (e *Engine) Ready() error {
	now := time.Now()
	idle := now.Sub(time.UnixMilli(e.progress.Load()))
	if idle < stalled {
		return nil
	}
	for _, l := range e.all() {
		l.mu.Lock()
		waiting := l.queue.Len() > 0 && !l.waitsLocked(now)
		l.mu.Unlock()
		if waiting {
			return fmt.Errorf("deliveries wait, and none was attempted for %s", idle.Round(time.Second))
		}
	}
	return nil
}

package deliver

import (
	"time"

	"malote.dev/malote/internal/hook"
)

// item is a delivery in hand.
type item struct {
	job    *hook.Job
	until  time.Time // end of its lease
	ticket uint64    // of its attempt, from the lane's pace
	begun  bool      // its attempt is under way
}

// size is how much memory a delivery in hand is counted as, in bytes.
func (it *item) size() int64 {
	const overhead = 1 << 10
	if it.job.Event == nil {
		return overhead
	}
	return overhead + int64(len(it.job.Event.Payload))
}

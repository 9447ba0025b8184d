package inline

import "malote.dev/malote/internal/hook"

// Mark is the writer's copy of the low-water mark: an event with an inline target that
// has neither a row nor a place in memory is never below it. See package sqlite. It
// belongs to the writer alone.
type Mark struct {
	Stored    hook.EventID    // as it is in the database
	Highest   hook.EventID    // the greatest id of an event so far
	recent    [4]hook.EventID // highest at the last passes, the newest first
	Reclaimed bool            // what an earlier process left was dealt with
}

// Behind reports whether the stored mark could be raised by a later pass.
func (m *Mark) Behind() bool { return m.Reclaimed && m.Stored <= m.Highest && m.Highest != 0 }

// Pass notes that a pass took place and returns what the mark may be raised to: beyond
// everything that was there some passes ago, but not beyond what is open. Events
// accepted a little out of order stay above it without a write of their own.
func (m *Mark) Pass(oldest hook.EventID, open bool) hook.EventID {
	target := m.recent[len(m.recent)-1] + 1
	copy(m.recent[1:], m.recent[:])
	m.recent[0] = m.Highest
	if open {
		target = min(target, oldest)
	}
	if !m.Reclaimed {
		return m.Stored
	}
	return max(m.Stored, target)
}

package deliver

import (
	"sync"
	"sync/atomic"

	"malote.dev/malote/internal/hook"
)

// shares divides the memory for deliveries in hand among the projects. As long as there
// is plenty, nobody asks; when more than half is in use, a project that has more than
// an equal part of the whole gets no more than each lane's floor, so that the others
// find room at once.
type shares struct {
	maxJobs, maxBytes int64

	jobs   atomic.Int64 // in hand, of all projects
	bytes  atomic.Int64
	active atomic.Int64 // projects with any

	mu       sync.Mutex
	projects map[hook.ProjectID]*share
}

// share is what one project has in hand.
type share struct{ jobs, bytes atomic.Int64 }

func newShares(maxJobs int, maxBytes int64) *shares {
	return &shares{maxJobs: int64(maxJobs), maxBytes: maxBytes, projects: make(map[hook.ProjectID]*share)}
}

// of returns a project's share. There are as many as projects that ever had any: few
// bytes each.
func (s *shares) of(project hook.ProjectID) *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.projects[project]
	if one == nil {
		one = &share{}
		s.projects[project] = one
	}
	return one
}

// take counts a delivery in hand, and reports whether it is the only one.
func (s *shares) take(one *share, size int64) (first bool) {
	if one.jobs.Add(1) == 1 {
		s.active.Add(1)
	}
	one.bytes.Add(size)
	s.bytes.Add(size)
	return s.jobs.Add(1) == 1
}

// give counts a delivery that is no longer in hand.
func (s *shares) give(one *share, size int64) {
	if one.jobs.Add(-1) == 0 {
		s.active.Add(-1)
	}
	one.bytes.Add(-size)
	s.bytes.Add(-size)
	s.jobs.Add(-1)
}

// scarce reports whether a project gets only what nobody is denied.
func (s *shares) scarce(one *share) bool {
	jobs, bytes := s.jobs.Load(), s.bytes.Load()
	if jobs <= s.maxJobs/2 && bytes <= s.maxBytes/2 {
		return false
	}
	if jobs >= s.maxJobs || bytes >= s.maxBytes {
		return true
	}
	projects := max(s.active.Load(), 1)
	return one.jobs.Load() > s.maxJobs/projects || one.bytes.Load() > s.maxBytes/projects
}

package deliver

import (
	"errors"

	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/hook"
)

// sharedSender is the sender of a lane for one version of its destination, with the
// number of attempts that use it. The lane's lock guards it.
type sharedSender struct {
	sender  *destination.Sender
	err     error // why there is none
	version int64
	users   int
	retired bool // replaced: the last user closes it
}

func (s *sharedSender) close() error {
	if s.sender == nil {
		return nil
	}
	return s.sender.Close()
}

// acquire returns the sender for a destination as it is set up now; it is made when
// the settings have changed.
func (e *Engine) acquire(l *lane, dst *hook.Destination) *sharedSender {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sender != nil && l.sender.version == dst.Version {
		l.sender.users++
		return l.sender
	}
	fresh := &sharedSender{version: dst.Version, users: 1}
	fresh.sender, fresh.err = e.options.Senders(dst)
	if fresh.err == nil && fresh.sender == nil {
		fresh.err = errors.New("nothing is known of this kind of destination")
	}
	if old := l.sender; old != nil {
		old.retired = true
		if old.users == 0 {
			e.closeSender(l, old)
		}
	}
	l.sender = fresh
	return fresh
}

// releaseSender ends a use.
func (e *Engine) releaseSender(l *lane, shared *sharedSender) {
	l.mu.Lock()
	defer l.mu.Unlock()
	shared.users--
	if shared.retired && shared.users == 0 {
		e.closeSender(l, shared)
	}
}

func (e *Engine) closeSender(l *lane, shared *sharedSender) {
	if err := shared.close(); err != nil {
		e.options.Logger.Warn("a sender could not be closed", "destination", l.id.String(), "error", err)
	}
}

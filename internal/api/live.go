package api

import (
	"sync"

	"malote.dev/malote/internal/hook"
)

// Limits of live listeners.
const (
	maxListeners  = 256 // of a process
	listenerQueue = 256 // notices that wait for one listener
)

// Notice is something that has just happened: exactly one noun is set.
type Notice struct {
	Project  hook.ProjectID
	Event    *hook.Event
	Delivery *hook.Delivery
	Refusal  *hook.Refusal
}

// Live tells listeners of this process what has just happened. It never waits: a
// listener that is too slow is dropped and knows it by the end of its channel. It
// carries no promise; whoever needs every event reads the lists.
type Live struct {
	mu        sync.RWMutex
	listeners map[*listener]struct{}
	closed    bool
}

type listener struct {
	project hook.ProjectID
	notices chan Notice
}

// NewLive returns a Live without listeners.
func NewLive() *Live { return &Live{listeners: map[*listener]struct{}{}} }

// Publish hands a notice to the listeners of its project. Nobody changes afterwards
// what it points to.
func (l *Live) Publish(notice Notice) {
	l.mu.RLock()
	var slow []*listener
	for each := range l.listeners {
		if each.project != notice.Project {
			continue
		}
		select {
		case each.notices <- notice:
		default:
			slow = append(slow, each)
		}
	}
	l.mu.RUnlock()
	for _, each := range slow {
		l.drop(each)
	}
}

// Listening reports whether anybody listens, so that whoever publishes can spare the work.
func (l *Live) Listening() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.listeners) > 0
}

// Listen returns the notices of a project from now on, and what ends the listening.
// The channel is closed when the listener was too slow, or when the server stops.
func (l *Live) Listen(project hook.ProjectID) (<-chan Notice, func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.listeners) >= maxListeners {
		return nil, nil, hook.Errorf(hook.KindUnavailable, "there are %d live listeners already, or the server stops: try again later", len(l.listeners))
	}
	each := &listener{project: project, notices: make(chan Notice, listenerQueue)}
	l.listeners[each] = struct{}{}
	return each.notices, func() { l.drop(each) }, nil
}

func (l *Live) drop(each *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.listeners[each]; ok {
		delete(l.listeners, each)
		close(each.notices)
	}
}

// Close ends all listening. Streams would otherwise keep a server from stopping.
func (l *Live) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for each := range l.listeners {
		delete(l.listeners, each)
		close(each.notices)
	}
}

package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
)

// Timings of a stream.
const (
	streamPulse   = 15 * time.Second // a comment after so long without notices keeps proxies from closing it
	streamTimeout = 10 * time.Second // for one write
)

func (s *server) streamRoutes() []*rest.Route {
	return []*rest.Route{{
		Method: http.MethodGet, Path: "/stream", ID: "stream", Role: hook.RoleViewer, Stream: true, Answers: "text/event-stream",
		Summary: "Follow events, deliveries and refused requests as they happen",
		More: "Server-sent events named event, delivery and refused, each with the noun as JSON. A listener that is too slow " +
			"gets an event named lagged, and the stream ends: read the lists, and listen again.",
		Bind: rest.Raw[rest.NoInput](s.follows),
	}}
}

func (s *server) follows(w http.ResponseWriter, r *http.Request) error {
	notices, end, err := s.Live.Listen(rest.ProjectOf(r.Context()))
	if err != nil {
		return err
	}
	defer end()
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("X-Accel-Buffering", "no")
	stream := &eventStream{w: w, control: http.NewResponseController(w), now: s.Now}
	// The server's limit on reading a request would otherwise end the stream, because
	// it goes on watching for the caller to leave.
	_ = stream.control.SetReadDeadline(time.Time{}) // a connection without deadlines needs none cleared
	if err := stream.write(": listening\n\n"); err != nil {
		return nil
	}
	pulse := time.NewTicker(streamPulse)
	defer pulse.Stop()
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-pulse.C:
			err = stream.write(": still here\n\n")
		case notice, ok := <-notices:
			if !ok {
				_ = stream.write("event: lagged\ndata: {}\n\n") // the stream ends either way
				return nil
			}
			err = stream.notice(s, &notice)
		}
		if err != nil {
			return nil
		}
	}
}

// eventStream writes server-sent events (WHATWG HTML, section 9.2).
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	now     func() time.Time
}

func (e *eventStream) write(text string) error {
	// A connection that cannot have deadlines, as in tests, is written to without.
	_ = e.control.SetWriteDeadline(e.now().Add(streamTimeout))
	if _, err := e.w.Write([]byte(text)); err != nil {
		return err
	}
	return e.control.Flush()
}

func (e *eventStream) notice(s *server, notice *Notice) error {
	var name, id string
	var noun any
	switch {
	case notice.Event != nil:
		name, id, noun = "event", notice.Event.ID.String(), s.showEvent(notice.Event)
	case notice.Delivery != nil:
		name, id, noun = "delivery", notice.Delivery.ID.String(), notice.Delivery
	case notice.Refusal != nil:
		name, id, noun = "refused", notice.Refusal.ID.String(), s.showRefusal(notice.Refusal)
	default:
		return nil
	}
	text, err := json.Marshal(noun)
	if err != nil {
		return err
	}
	return e.write(fmt.Sprintf("event: %s\nid: %s\ndata: %s\n\n", name, id, text))
}

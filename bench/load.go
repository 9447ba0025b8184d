package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// secret is the one that the sender signs with, as GitHub does.
const secret = "it-is-a-secret-to-everybody"

// bodySize is the size of an event's body in bytes.
const bodySize = 1024

// idDigits is the length of each of the two numbers in an event's id: the run's and
// the event's.
const idDigits = 10

// drainTime is how long acknowledged events may take to arrive after the load ended.
const drainTime = 2 * time.Minute

// bodyStart is what stands before the id in every body.
const bodyStart = `{"id":"`

// newBody returns an event's body: JSON of exactly bodySize bytes with the id at a
// fixed place.
func newBody() []byte {
	body := append([]byte(bodyStart), bytes.Repeat([]byte("0"), 2*idDigits)...)
	body = append(body, `","action":"created","total_price":"149.90","currency":"BRL","customer":{"id":7,"name":"Ana"},"note":"`...)
	end := []byte(`"}`)
	body = append(body, bytes.Repeat([]byte("x"), bodySize-len(body)-len(end))...)
	return append(body, end...)
}

// setID writes an id into a body made by newBody.
func setID(body []byte, run, number int64) {
	digits := body[len(bodyStart) : len(bodyStart)+2*idDigits]
	for _, n := range []struct {
		value int64
		into  []byte
	}{{run, digits[:idDigits]}, {number, digits[idDigits:]}} {
		for i := idDigits - 1; i >= 0; i-- {
			n.into[i] = byte('0' + n.value%10)
			n.value /= 10
		}
	}
}

// readID reads what setID wrote.
func readID(body []byte) (run, number int64, ok bool) {
	if len(body) < len(bodyStart)+2*idDigits || string(body[:len(bodyStart)]) != bodyStart {
		return 0, 0, false
	}
	for i, digit := range body[len(bodyStart) : len(bodyStart)+2*idDigits] {
		if digit < '0' || digit > '9' {
			return 0, 0, false
		}
		if i < idDigits {
			run = run*10 + int64(digit-'0')
		} else {
			number = number*10 + int64(digit-'0')
		}
	}
	return run, number, true
}

// sample is what one run of load measured.
type sample struct {
	accepted int
	copies   int             // deliveries of each event
	lost     int             // deliveries of acknowledged events that did not arrive within drainTime
	repeated int             // arrived more than once
	failures int             // requests without a 2xx
	elapsed  time.Duration   // from the first request to the last arrival
	acks     []time.Duration // of acknowledged events: request to answer
	ends     []time.Duration // of arrived events: request to arrival at the receiver, of the last copy
	cpu      time.Duration   // of the system under test
}

// perSecond is the rate of deliveries that was sustained end to end.
func (s *sample) perSecond() float64 {
	return float64(s.accepted*s.copies-s.lost) / s.elapsed.Seconds()
}

// cpuPerEvent is the system's time on the processors for each event.
func (s *sample) cpuPerEvent() time.Duration {
	return s.cpu / time.Duration(max(1, s.accepted))
}

// cpuPerDelivery is the same for each delivery.
func (s *sample) cpuPerDelivery() time.Duration { return s.cpuPerEvent() / time.Duration(s.copies) }

// quantile returns the q-quantile of durations, which it sorts.
func quantile(durations []time.Duration, q float64) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	slices.Sort(durations)
	return durations[int(q*float64(len(durations)-1))]
}

// load is one run of requests against one system.
type load struct {
	url     string
	clients int
	rate    int // events a second; 0: as fast as answers come
	length  time.Duration
	most    int // number of events that there is room for
	copies  int // deliveries of each event; 0: one
	types   int // the events are of so many types in turn, see typeName; 0: of one
}

// typeName is the n-th type of event of a load that has several.
func typeName(n int64) string { return "type-" + strconv.FormatInt(n, 10) }

// defaultType is the type of the events of a load that has only one.
const defaultType = "push"

// typeOf returns the type of an event.
func (l *load) typeOf(number int64) string {
	if l.types == 0 {
		return defaultType
	}
	return typeName(number % int64(l.types))
}

// newTrack returns room for what becomes of the load's events.
func (l *load) newTrack(run int64) *track {
	copies := max(1, l.copies)
	return &track{
		run: run, began: time.Now(), copies: copies,
		sent: make([]int64, l.most), acked: make([]int64, l.most), arrived: make([]atomic.Int64, l.most*copies),
	}
}

// track follows the events of one run by their number. Times are nanoseconds since
// the run began; 0 means not yet.
type track struct {
	run     int64
	began   time.Time
	copies  int // of each event
	sent    []int64
	acked   []int64
	arrived []atomic.Int64 // event by event, copy by copy
	again   atomic.Int64   // arrivals of what had arrived before
}

func (t *track) now() int64 { return max(1, int64(time.Since(t.began))) }

// arrive notes a copy of an event. What belongs to no event of the run is passed over.
func (t *track) arrive(number, copied int64) {
	if number >= int64(len(t.sent)) || copied >= int64(t.copies) {
		return
	}
	if !t.arrived[number*int64(t.copies)+copied].CompareAndSwap(0, t.now()) {
		t.again.Add(1)
	}
}

// end returns when the last copy of an event arrived, and how many are missing.
func (t *track) end(number int) (last int64, missing int) {
	for i := range t.copies {
		at := t.arrived[number*t.copies+i].Load()
		if at == 0 {
			missing++
		}
		last = max(last, at)
	}
	return last, missing
}

// drive runs the load and waits until everything acknowledged has arrived.
func (l *load) drive(ctx context.Context, system *system, receiver *receiver) (*sample, error) {
	t := l.newTrack(receiver.runs.Add(1))
	receiver.track.Store(t)
	before, err := system.cpu()
	if err != nil {
		return nil, err
	}
	failures, err := l.send(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := t.drain(ctx, drainTime); err != nil {
		return nil, err
	}
	after, err := system.cpu()
	if err != nil {
		return nil, err
	}
	result := t.sum()
	result.failures, result.cpu = failures, after-before
	if result.accepted == 0 {
		return nil, fmt.Errorf("none of %d requests was acknowledged", failures)
	}
	return result, nil
}

// send makes the requests and returns how many were not acknowledged.
func (l *load) send(ctx context.Context, t *track) (failures int, err error) {
	transport := &http.Transport{MaxIdleConnsPerHost: l.clients, MaxConnsPerHost: l.clients, DisableCompression: true}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, l.length+time.Minute)
	defer cancel()
	var next, failed atomic.Int64
	var group sync.WaitGroup
	due := l.pace(ctx)
	for range l.clients {
		group.Go(func() {
			sender := newSender(transport, l.url)
			for time.Since(t.began) < l.length && ctx.Err() == nil {
				if due != nil {
					if _, open := <-due; !open {
						return
					}
				}
				number := next.Add(1) - 1
				if number >= int64(l.most) {
					return
				}
				if !sender.post(ctx, t, number, l.typeOf(number)) {
					failed.Add(1)
				}
			}
		})
	}
	group.Wait()
	return int(failed.Load()), ctx.Err()
}

// pace returns a channel that has an element whenever a request is due at the load's
// rate, whether or not the requests before it are answered; nil when there is no rate.
func (l *load) pace(ctx context.Context) <-chan struct{} {
	if l.rate == 0 {
		return nil
	}
	events := int(l.length.Seconds() * float64(l.rate))
	due := make(chan struct{}, events)
	go func() {
		defer close(due)
		ticker := time.NewTicker(time.Second / time.Duration(l.rate))
		defer ticker.Stop()
		for range events {
			select {
			case <-ticker.C:
				due <- struct{}{}
			case <-ctx.Done():
				return
			}
		}
	}()
	return due
}

// sender signs and posts events over one client.
type sender struct {
	client *http.Client
	url    string
	body   []byte
}

func newSender(transport http.RoundTripper, url string) *sender {
	return &sender{client: &http.Client{Transport: transport}, url: url, body: newBody()}
}

// post sends one event of a type and reports whether it was acknowledged.
func (s *sender) post(ctx context.Context, t *track, number int64, kind string) bool {
	setID(s.body, t.run, number)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(s.body)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(s.body))
	if err != nil {
		return false
	}
	req.Header["Content-Type"] = []string{"application/json"}
	req.Header["X-Github-Event"] = []string{kind}
	req.Header["X-Github-Delivery"] = []string{string(s.body[len(bodyStart) : len(bodyStart)+2*idDigits])}
	req.Header["X-Hub-Signature-256"] = []string{"sha256=" + hex.EncodeToString(mac.Sum(nil))}
	t.sent[number] = t.now()
	resp, err := s.client.Do(req)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode >= http.StatusMultipleChoices {
		return false
	}
	t.acked[number] = t.now()
	return true
}

// drain waits until all that was acknowledged has arrived, or the patience is over.
func (t *track) drain(ctx context.Context, patience time.Duration) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for at := 0; ; {
		for at < len(t.acked) && t.settled(at) {
			at++
		}
		if at == len(t.acked) {
			return nil
		}
		select {
		case <-look.C:
		case <-deadline.C:
			return nil // what is missing is counted as lost
		case <-ctx.Done():
			return errors.New("interrupted")
		}
	}
}

// settled reports whether nothing of an event has yet to arrive.
func (t *track) settled(number int) bool {
	if t.acked[number] == 0 {
		return true
	}
	_, missing := t.end(number)
	return missing == 0
}

// sum evaluates the run.
func (t *track) sum() *sample {
	s := &sample{copies: t.copies, repeated: int(t.again.Load())}
	first, last := int64(0), int64(0)
	for i, sent := range t.sent {
		if sent != 0 && (first == 0 || sent < first) {
			first = sent
		}
		arrived, missing := t.end(i)
		last = max(last, arrived)
		if missing == 0 {
			s.ends = append(s.ends, time.Duration(arrived-sent))
		}
		if t.acked[i] == 0 {
			continue
		}
		s.accepted++
		s.acks = append(s.acks, time.Duration(t.acked[i]-sent))
		s.lost += missing
	}
	s.elapsed = time.Duration(max(1, last-first))
	return s
}

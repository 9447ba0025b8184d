package codec

import (
	"maps"
	"slices"

	"malote.dev/malote/internal/hook"
)

// EncodeRequest returns the column "request" of an event: everything of it that no
// query selects by.
func EncodeRequest(ev *hook.Event) []byte {
	e := newEncoder(256 + len(ev.Headers)*48)
	e.time(ev.ReceivedAt)
	e.text(ev.Method)
	e.text(ev.Path)
	e.text(ev.Query)
	e.text(ev.Remote)
	e.text(ev.ProviderID)
	e.text(ev.Verdict.Scheme)
	e.flags(ev.Verdict.Verified, ev.Verdict.Admitted)
	e.int(int64(ev.Verdict.Secret))
	e.headers(ev.Headers)
	e.uint(uint64(len(ev.Unmatched)))
	for i := range ev.Unmatched {
		e.fixed(int64(ev.Unmatched[i].Connection))
		e.text(ev.Unmatched[i].Error)
	}
	if ev.Parent != 0 || ev.Replay != 0 {
		e.int(int64(ev.Parent))
		e.int(int64(ev.Replay))
	}
	return e.buf
}

// DecodeRequest fills the fields of ev that EncodeRequest wrote.
func DecodeRequest(data []byte, ev *hook.Event) error {
	d := newDecoder(data)
	ev.ReceivedAt = d.time()
	ev.Method = d.text()
	ev.Path = d.text()
	ev.Query = d.text()
	ev.Remote = d.text()
	ev.ProviderID = d.text()
	ev.Verdict.Scheme = d.text()
	flags := d.flag()
	ev.Verdict.Verified, ev.Verdict.Admitted = flags&1 != 0, flags&2 != 0
	ev.Verdict.Secret = int(d.int())
	ev.Headers = d.headers()
	ev.Unmatched = nil
	for range d.count() {
		if d.err != nil {
			break
		}
		ev.Unmatched = append(ev.Unmatched, hook.Miss{Connection: hook.ConnectionID(d.fixed()), Error: d.text()})
	}
	ev.Parent, ev.Replay = hook.EventID(d.int()), hook.ReplayID(d.int())
	return d.end()
}

// EncodeTargets returns the column "targets" of an event; nil when it has none. A
// delivery's id is stored as its distance from the event's, which is short.
func EncodeTargets(event hook.EventID, targets []hook.Target) []byte {
	if len(targets) == 0 {
		return nil
	}
	e := newEncoder(2 + len(targets)*21)
	e.uint(uint64(len(targets)))
	for i := range targets {
		t := &targets[i]
		e.int(int64(t.Delivery) - int64(event))
		e.fixed(int64(t.Connection))
		e.fixed(int64(t.Destination))
		e.flags(t.Deferred, t.Held, t.OrderKey != "")
		if t.OrderKey != "" {
			e.text(t.OrderKey)
		}
	}
	return e.buf
}

// DecodeTargets reads what EncodeTargets wrote.
func DecodeTargets(event hook.EventID, data []byte) ([]hook.Target, error) {
	if len(data) == 0 {
		return nil, nil
	}
	d := newDecoder(data)
	var targets []hook.Target
	for range d.count() {
		if d.err != nil {
			break
		}
		t := hook.Target{
			Delivery:   hook.DeliveryID(int64(event) + d.int()),
			Connection: hook.ConnectionID(d.fixed()), Destination: hook.DestinationID(d.fixed()),
		}
		flags := d.flag()
		t.Deferred, t.Held = flags&1 != 0, flags&2 != 0
		if flags&4 != 0 {
			t.OrderKey = d.text()
		}
		targets = append(targets, t)
	}
	return targets, d.end()
}

// EncodeAttempt returns an attempt as one column. Its delivery and number are columns
// or known from the row.
func EncodeAttempt(a *hook.Attempt) []byte {
	e := newEncoder(160 + (len(a.RequestHeaders)+len(a.ResponseHeaders))*48 + len(a.ResponseBody))
	e.fixed(int64(a.ID))
	e.flags(a.Manual, a.Probe)
	e.time(a.StartedAt)
	e.int(int64(a.Duration))
	e.text(string(a.Outcome))
	e.text(a.Method)
	e.text(a.URL)
	e.headers(a.RequestHeaders)
	e.int(int64(a.ResponseStatus))
	e.headers(a.ResponseHeaders)
	e.bytes(a.ResponseBody[:min(len(a.ResponseBody), hook.MaxKeptResponse)])
	e.text(a.Error)
	return e.buf
}

// DecodeAttempt reads what EncodeAttempt wrote, for the delivery's attempt of this
// number.
func DecodeAttempt(data []byte, delivery hook.DeliveryID, number int) (hook.Attempt, error) {
	d := newDecoder(data)
	a := hook.Attempt{Delivery: delivery, Number: number}
	a.ID = hook.AttemptID(d.fixed())
	flags := d.flag()
	a.Manual, a.Probe = flags&1 != 0, flags&2 != 0
	a.StartedAt = d.time()
	a.Duration = hook.Duration(d.int())
	a.Outcome = hook.Outcome(d.text())
	a.Method = d.text()
	a.URL = d.text()
	a.RequestHeaders = d.headers()
	a.ResponseStatus = int(d.int())
	a.ResponseHeaders = d.headers()
	a.ResponseBody = d.bytes()
	a.Error = d.text()
	return a, d.end()
}

// EncodeRefusal returns the column "data" of a refusal: all but its payload and ids.
func EncodeRefusal(r *hook.Refusal) []byte {
	e := newEncoder(256 + len(r.Headers)*48)
	e.time(r.ReceivedAt)
	e.text(r.Reason)
	e.texts(r.Explanation)
	e.text(r.Method)
	e.text(r.Path)
	e.text(r.Query)
	e.text(r.Remote)
	e.headers(r.Headers)
	e.flags(r.Truncated)
	return e.buf
}

// DecodeRefusal fills the fields of r that EncodeRefusal wrote.
func DecodeRefusal(data []byte, r *hook.Refusal) error {
	d := newDecoder(data)
	r.ReceivedAt = d.time()
	r.Reason = d.text()
	r.Explanation = d.texts()
	r.Method = d.text()
	r.Path = d.text()
	r.Query = d.text()
	r.Remote = d.text()
	r.Headers = d.headers()
	r.Truncated = d.flag()&1 != 0
	return d.end()
}

// numberFields are the counters of hook.Numbers in their stored order.
func numberFields(n *hook.Numbers) [11]*int64 {
	return [...]*int64{
		&n.Accepted, &n.Duplicates, &n.Refused, &n.Bytes, &n.Unmatched, &n.FilterErrors,
		&n.Deliveries, &n.Succeeded, &n.Failed, &n.Canceled, &n.Attempts,
	}
}

// EncodeNumbers returns the counters of one minute as one column. Counters that are
// zero take a byte each at the most; the histogram is cut after its last count.
func EncodeNumbers(n *hook.Numbers) []byte {
	e := newEncoder(64)
	for _, field := range numberFields(n) {
		e.uint(uint64(*field))
	}
	outcomes := make([]string, 0, len(n.Outcomes))
	for outcome := range n.Outcomes {
		outcomes = append(outcomes, string(outcome))
	}
	slices.Sort(outcomes)
	e.uint(uint64(len(outcomes)))
	for _, outcome := range outcomes {
		e.text(outcome)
		e.uint(uint64(n.Outcomes[hook.Outcome(outcome)]))
	}
	buckets := n.Latency[:]
	for len(buckets) > 0 && buckets[len(buckets)-1] == 0 {
		buckets = buckets[:len(buckets)-1]
	}
	e.uint(uint64(len(buckets)))
	for _, count := range buckets {
		e.uint(uint64(count))
	}
	return e.buf
}

// DecodeNumbers reads what EncodeNumbers wrote.
func DecodeNumbers(data []byte) (hook.Numbers, error) {
	var n hook.Numbers
	d := newDecoder(data)
	for _, field := range numberFields(&n) {
		*field = int64(d.uint())
	}
	for range d.count() {
		if n.Outcomes == nil {
			n.Outcomes = map[hook.Outcome]int64{}
		}
		outcome := hook.Outcome(d.text())
		n.Outcomes[outcome] += int64(d.uint())
	}
	buckets := d.count()
	if buckets > len(n.Latency) {
		d.fail("too many buckets")
		buckets = 0
	}
	for i := range buckets {
		n.Latency[i] = int64(d.uint())
	}
	return n, d.end()
}

// MergeNumbers adds the counters of other to n.
func MergeNumbers(n, other *hook.Numbers) {
	into, from := numberFields(n), numberFields(other)
	for i := range into {
		*into[i] += *from[i]
	}
	for outcome, count := range other.Outcomes {
		if n.Outcomes == nil {
			n.Outcomes = make(map[hook.Outcome]int64, len(other.Outcomes))
		}
		n.Outcomes[outcome] += count
	}
	n.Latency.Merge(&other.Latency)
}

// CloneNumbers returns a copy of n that shares nothing with it.
func CloneNumbers(n *hook.Numbers) hook.Numbers {
	clone := *n
	clone.Outcomes = maps.Clone(n.Outcomes)
	return clone
}

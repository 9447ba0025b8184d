package codec

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"malote.dev/malote/internal/hook"
)

// text draws any bytes, common header names among them.
func text() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.SampledFrom(headerNames[:]),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
}

func headers() *rapid.Generator[hook.Headers] {
	return rapid.Map(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) hook.Header {
		return hook.Header{Name: text().Draw(t, "name"), Value: text().Draw(t, "value")}
	}), 0, 8), func(list []hook.Header) hook.Headers { return list })
}

func instant() *rapid.Generator[time.Time] {
	return rapid.Map(rapid.Int64Range(-1<<45, 1<<45), func(ms int64) time.Time { return time.UnixMilli(ms).UTC() })
}

// emptyIsNil is how rows come back: an empty list is nil.
var emptyIsNil = cmpopts.EquateEmpty()

func TestRequestsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := hook.Event{
			ReceivedAt: instant().Draw(t, "received"), Method: text().Draw(t, "method"), Path: text().Draw(t, "path"),
			Query: text().Draw(t, "query"), Remote: text().Draw(t, "remote"), ProviderID: text().Draw(t, "provider id"),
			Verdict: hook.Verdict{
				Scheme: text().Draw(t, "scheme"), Verified: rapid.Bool().Draw(t, "verified"),
				Secret: rapid.Int().Draw(t, "secret"), Admitted: rapid.Bool().Draw(t, "admitted"),
			},
			Headers: headers().Draw(t, "headers"),
			Parent:  hook.EventID(rapid.Int64().Draw(t, "parent")), Replay: hook.ReplayID(rapid.Int64().Draw(t, "replay")),
		}
		for range rapid.IntRange(0, 3).Draw(t, "misses") {
			want.Unmatched = append(want.Unmatched, hook.Miss{Connection: hook.ConnectionID(rapid.Int64().Draw(t, "connection")), Error: text().Draw(t, "error")})
		}
		var got hook.Event
		if err := DecodeRequest(EncodeRequest(&want), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, emptyIsNil); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTargetsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		event := hook.EventID(rapid.Int64Range(1, 1<<63-1).Draw(t, "event"))
		want := rapid.SliceOf(rapid.Custom(func(t *rapid.T) hook.Target {
			return hook.Target{
				Delivery:   hook.DeliveryID(rapid.Int64Range(1, 1<<63-1).Draw(t, "delivery")),
				Connection: hook.ConnectionID(rapid.Int64().Draw(t, "connection")), Destination: hook.DestinationID(rapid.Int64().Draw(t, "destination")),
				Deferred: rapid.Bool().Draw(t, "deferred"), Held: rapid.Bool().Draw(t, "held"),
				OrderKey: text().Draw(t, "key"),
			}
		})).Draw(t, "targets")
		got, err := DecodeTargets(event, EncodeTargets(event, want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, emptyIsNil); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestAttemptsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := hook.Attempt{
			ID: hook.AttemptID(rapid.Int64().Draw(t, "id")), Delivery: 7, Number: 3, Manual: rapid.Bool().Draw(t, "manual"), Probe: rapid.Bool().Draw(t, "probe"),
			StartedAt: instant().Draw(t, "started"), Duration: hook.Duration(rapid.Int64().Draw(t, "duration")),
			Outcome: hook.Outcome(text().Draw(t, "outcome")), Method: text().Draw(t, "method"), URL: text().Draw(t, "url"),
			RequestHeaders: headers().Draw(t, "request"), ResponseStatus: rapid.Int().Draw(t, "status"),
			ResponseHeaders: headers().Draw(t, "response"), ResponseBody: rapid.SliceOf(rapid.Byte()).Draw(t, "body"), Error: text().Draw(t, "error"),
		}
		got, err := DecodeAttempt(EncodeAttempt(&want), 7, 3)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, emptyIsNil); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestCircuitsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := hook.Circuit{
			State:  hook.CircuitState(rapid.IntRange(0, int(hook.CircuitRamp)).Draw(t, "state")),
			Reason: text().Draw(t, "reason"), Since: instant().Draw(t, "since"), OpenedAt: instant().Draw(t, "opened"),
			ProbeAt: rapid.OneOf(instant(), rapid.Just(time.Time{})).Draw(t, "probe"), Failures: rapid.Int().Draw(t, "failures"),
			Probes: rapid.Int().Draw(t, "probes"), FailingSince: instant().Draw(t, "failing"), Pace: rapid.Int().Draw(t, "pace"),
		}
		var got hook.Circuit
		if err := DecodeCircuit(EncodeCircuit(&want), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestOnlyTheBeginningOfAnAnswerIsKept(t *testing.T) {
	a := hook.Attempt{ResponseBody: bytes.Repeat([]byte("x"), hook.MaxKeptResponse+1)}
	got, err := DecodeAttempt(EncodeAttempt(&a), 1, 1)
	if err != nil || len(got.ResponseBody) != hook.MaxKeptResponse {
		t.Errorf("%d bytes are kept, %v; want %d", len(got.ResponseBody), err, hook.MaxKeptResponse)
	}
}

func TestRefusalsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := hook.Refusal{
			Reason: text().Draw(t, "reason"), Explanation: rapid.SliceOf(text()).Draw(t, "explanation"), Method: text().Draw(t, "method"),
			Path: text().Draw(t, "path"), Query: text().Draw(t, "query"), Remote: text().Draw(t, "remote"), Headers: headers().Draw(t, "headers"),
			Truncated: rapid.Bool().Draw(t, "truncated"), ReceivedAt: instant().Draw(t, "received"),
		}
		var got hook.Refusal
		if err := DecodeRefusal(EncodeRefusal(&want), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, emptyIsNil); diff != "" {
			t.Fatal(diff)
		}
	})
}

func numbers() *rapid.Generator[hook.Numbers] {
	return rapid.Custom(func(t *rapid.T) hook.Numbers {
		var n hook.Numbers
		count := rapid.Int64Range(0, 1<<40)
		for _, field := range numberFields(&n) {
			*field = count.Draw(t, "counter")
		}
		n.Outcomes = rapid.MapOf(rapid.Map(text(), func(s string) hook.Outcome { return hook.Outcome(s) }), count).Draw(t, "outcomes")
		for i := range n.Latency {
			n.Latency[i] = count.Draw(t, "bucket")
		}
		return n
	})
}

func TestNumbersRoundTripAndAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := numbers().Draw(t, "a"), numbers().Draw(t, "b")
		got, err := DecodeNumbers(EncodeNumbers(&a))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, got, emptyIsNil); diff != "" {
			t.Fatal(diff)
		}
		ab, ba := CloneNumbers(&a), CloneNumbers(&b)
		MergeNumbers(&ab, &b)
		MergeNumbers(&ba, &a)
		if diff := cmp.Diff(ab, ba, emptyIsNil); diff != "" {
			t.Fatalf("a+b is not b+a:\n%s", diff)
		}
		if ab.Accepted != a.Accepted+b.Accepted || ab.Latency[3] != a.Latency[3]+b.Latency[3] {
			t.Fatal("the sum is wrong")
		}
		if diff := cmp.Diff(got, a, emptyIsNil); diff != "" {
			t.Fatalf("adding changed what was added to its copy:\n%s", diff)
		}
	})
}

// TestEveryCounterIsStored finds a counter that was added to hook.Numbers and
// forgotten here.
func TestEveryCounterIsStored(t *testing.T) {
	var n hook.Numbers
	for i, field := range numberFields(&n) {
		*field = int64(i + 1)
	}
	for name, value := range map[string]int64{
		"accepted": n.Accepted, "duplicates": n.Duplicates, "refused": n.Refused, "bytes": n.Bytes, "unmatched": n.Unmatched,
		"filter errors": n.FilterErrors, "deliveries": n.Deliveries, "succeeded": n.Succeeded, "failed": n.Failed, "canceled": n.Canceled, "attempts": n.Attempts,
	} {
		if value == 0 {
			t.Errorf("the counter %q is not stored", name)
		}
	}
}

func TestHeaderNamesHaveOnePlace(t *testing.T) {
	if len(headerNames) > 256 || len(headerCodes) != len(headerNames) {
		t.Errorf("%d names at %d places", len(headerCodes), len(headerNames))
	}
}

func TestOlderRowsStayReadable(t *testing.T) {
	ev := hook.Event{ReceivedAt: time.UnixMilli(5).UTC(), Method: "POST"}
	var got hook.Event
	if err := DecodeRequest(EncodeRequest(&ev)[:8], &got); err != nil { // Version, time and method: as if the rest had been added later.
		t.Fatal(err)
	}
	if diff := cmp.Diff(ev, got); diff != "" {
		t.Error(diff)
	}
}

// fuzzCodec holds a decoder to this: whatever the bytes, it neither panics nor
// allocates beyond their size, and what it accepts it can write and read again.
func fuzzCodec(f *testing.F, seeds [][]byte, decode func([]byte) (again []byte, err error)) {
	f.Helper()
	for _, seed := range append(seeds, nil, []byte{1}, []byte{2, 0}, bytes.Repeat([]byte{0xff}, 40)) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		again, err := decode(data)
		if err != nil {
			if !errors.Is(err, ErrCodec) {
				t.Errorf("error %v is not ErrCodec", err)
			}
			return
		}
		twice, err := decode(again)
		if err != nil || !bytes.Equal(again, twice) {
			t.Errorf("%x was read, written as %x and then as %x (%v)", data, again, twice, err)
		}
	})
}

var sampleHeaders = hook.Headers{{Name: "Content-Type", Value: "text/plain"}, {Name: "X-Own", Value: ""}}

func FuzzDecodeRequest(f *testing.F) {
	ev := hook.Event{Method: "POST", Headers: sampleHeaders, Unmatched: []hook.Miss{{Connection: 5, Error: "x"}}}
	fuzzCodec(f, [][]byte{EncodeRequest(&ev)}, func(data []byte) ([]byte, error) {
		var ev hook.Event
		err := DecodeRequest(data, &ev)
		return EncodeRequest(&ev), err
	})
}

func FuzzDecodeTargets(f *testing.F) {
	seed := EncodeTargets(9, []hook.Target{{Delivery: 8, Connection: 7, Destination: 6, Held: true}})
	fuzzCodec(f, [][]byte{seed}, func(data []byte) ([]byte, error) {
		targets, err := DecodeTargets(9, data)
		return EncodeTargets(9, targets), err
	})
}

func FuzzDecodeAttempt(f *testing.F) {
	a := hook.Attempt{Outcome: hook.OutcomeTimeout, RequestHeaders: sampleHeaders, ResponseBody: []byte("ok")}
	fuzzCodec(f, [][]byte{EncodeAttempt(&a)}, func(data []byte) ([]byte, error) {
		a, err := DecodeAttempt(data, 1, 1)
		return EncodeAttempt(&a), err
	})
}

func FuzzDecodeRefusal(f *testing.F) {
	r := hook.Refusal{Reason: "x", Explanation: []string{"a", ""}, Headers: sampleHeaders}
	fuzzCodec(f, [][]byte{EncodeRefusal(&r)}, func(data []byte) ([]byte, error) {
		var r hook.Refusal
		err := DecodeRefusal(data, &r)
		return EncodeRefusal(&r), err
	})
}

func FuzzDecodeNumbers(f *testing.F) {
	n := hook.Numbers{Accepted: 3, Outcomes: map[hook.Outcome]int64{hook.OutcomeGone: 2}}
	n.Latency.Add(time.Second)
	fuzzCodec(f, [][]byte{EncodeNumbers(&n)}, func(data []byte) ([]byte, error) {
		n, err := DecodeNumbers(data)
		return EncodeNumbers(&n), err
	})
}

func FuzzDecodeCircuit(f *testing.F) {
	c := hook.Circuit{State: hook.CircuitOpen, Reason: "x", Since: time.Unix(5, 0), Failures: 3}
	fuzzCodec(f, [][]byte{EncodeCircuit(&c)}, func(data []byte) ([]byte, error) {
		var c hook.Circuit
		err := DecodeCircuit(data, &c)
		return EncodeCircuit(&c), err
	})
}

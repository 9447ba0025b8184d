package hook

import "time"

// Numbers are the counters of one minute of one source, connection or destination:
// exact, written in the commit that they count.
type Numbers struct {
	Minute       time.Time         `json:"minute,omitzero"`        // when; zero in a sum
	Accepted     int64             `json:"accepted,omitempty"`     // source: events
	Duplicates   int64             `json:"duplicates,omitempty"`   // source: known already
	Refused      int64             `json:"refused,omitempty"`      // source: not accepted
	Bytes        int64             `json:"bytes,omitempty"`        // source: payload bytes accepted
	Unmatched    int64             `json:"unmatched,omitempty"`    // source: accepted, and no connection wanted it
	FilterErrors int64             `json:"filterErrors,omitempty"` // connection: filters that failed
	Deliveries   int64             `json:"deliveries,omitempty"`   // connection, destination: caused
	Succeeded    int64             `json:"succeeded,omitempty"`    // deliveries that ended so
	Failed       int64             `json:"failed,omitempty"`
	Canceled     int64             `json:"canceled,omitempty"`
	Attempts     int64             `json:"attempts,omitempty"`
	Outcomes     map[Outcome]int64 `json:"outcomes,omitempty"` // attempts by outcome
	Latency      Histogram         `json:"latency,omitzero"`   // of attempts
}

// LatencyBuckets are the upper bounds of a Histogram's buckets in milliseconds; the
// last bucket has none.
var LatencyBuckets = [...]int64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 60000} //nolint:gochecknoglobals // a constant

// Histogram counts durations by LatencyBuckets.
type Histogram [len(LatencyBuckets) + 1]int64

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	for i, bound := range LatencyBuckets {
		if d <= time.Duration(bound)*time.Millisecond {
			h[i]++
			return
		}
	}
	h[len(h)-1]++
}

// Merge adds the counts of other.
func (h *Histogram) Merge(other *Histogram) {
	for i := range h {
		h[i] += other[i]
	}
}

// Quantile returns an upper bound of the q-quantile in milliseconds, -1 when nothing
// was counted.
func (h *Histogram) Quantile(q float64) int64 {
	var total int64
	for _, n := range h {
		total += n
	}
	if total == 0 {
		return -1
	}
	rank := int64(q*float64(total-1)) + 1
	for i, n := range h {
		rank -= n
		if rank <= 0 {
			return LatencyBuckets[min(i, len(LatencyBuckets)-1)]
		}
	}
	return LatencyBuckets[len(LatencyBuckets)-1]
}

// Failure is one kind of failure at a destination, with an example.
type Failure struct {
	Outcome  Outcome    `json:"outcome"`
	Status   int        `json:"status,omitempty"` // of the example; 0: no answer came
	Attempts int64      `json:"attempts"`         // with this outcome, in the span that was asked for
	Delivery DeliveryID `json:"delivery"`         // the example: one of the last ones, to the minute
	Number   int        `json:"number"`           // of its attempt
	At       time.Time  `json:"at"`
	Text     string     `json:"text"` // what happened, in words
}

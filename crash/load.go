package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// senders are how many requests are under way at once, at the most.
const senders = 16

// customers is how many customers there are, each a key of the connections with an
// order.
const customers = 20

// order is something that a provider reports, under a delivery id of its own.
type order struct {
	source   string
	id       string
	customer string
	body     []byte
	event    string    // the acknowledged event; "" before
	requests []request // that were made, the unanswered ones too
}

// request is the time that one took.
type request struct{ sent, ended time.Time }

// ledger is what the providers know: what they sent, and what was acknowledged.
type ledger struct {
	mu      sync.Mutex
	all     map[string]*order // by id
	known   []*order          // acknowledged
	open    []*order          // sent, and not acknowledged: they are sent again
	repeats int               // answers to what was acknowledged already
}

func newLedger() *ledger { return &ledger{all: map[string]*order{}} }

// pick returns what to send next: something new, or something once more.
func (l *ledger) pick(chance *rand.Rand) *order {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := chance.IntN(100)
	if at < 50 && len(l.open) > 0 {
		n := chance.IntN(len(l.open))
		o := l.open[n]
		l.open[n] = l.open[len(l.open)-1]
		l.open = l.open[:len(l.open)-1]
		if chance.IntN(5) > 0 {
			return o
		} // Otherwise the provider gives up.
	}
	if at >= 90 && len(l.known) > 0 {
		return l.known[len(l.known)-1-chance.IntN(min(len(l.known), 500))]
	}
	sources := [...]string{"shop", "shop", "hub", "hub", "plain"}
	o := &order{
		source: sources[chance.IntN(len(sources))], id: "order-" + strconv.Itoa(len(l.all)+1), customer: "c-" + strconv.Itoa(chance.IntN(customers)),
	}
	o.body = fmt.Appendf(nil, `{"id":%q,"source":%q,"customer":{"id":%q},"total_price":"149.90","note":%q}`,
		o.id, o.source, o.customer, bytes.Repeat([]byte("x"), chance.IntN(2000)))
	l.all[o.id] = o
	return o
}

// note keeps when a request was made, and until when it may have had an effect.
func (l *ledger) note(o *order, sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.requests = append(o.requests, request{sent, time.Now()})
}

// acknowledge notes an answer of 200 with an event. It returns the event that the order
// was acknowledged as before, if that is another one.
func (l *ledger) acknowledge(o *order, event string) (other string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch o.event {
	case "":
		o.event = event
		l.known = append(l.known, o)
	case event:
		l.repeats++
	default:
		return o.event
	}
	return ""
}

// fail notes that an order was not acknowledged.
func (l *ledger) fail(o *order) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.event == "" {
		l.open = append(l.open, o)
	}
}

// sender sends orders at a rate, whoever answers.
type sender struct {
	system *system
	ledger *ledger
	faults *faults
	rate   int
}

func (s *sender) run(ctx context.Context, chance *rand.Rand) {
	orders := make(chan *order)
	var group sync.WaitGroup
	for range senders {
		group.Go(func() {
			for o := range orders {
				s.send(ctx, o)
			}
		})
	}
	ticker := time.NewTicker(time.Second / time.Duration(s.rate))
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ticker.C:
			o := s.ledger.pick(chance)
			orders <- o
			if chance.IntN(50) == 0 {
				orders <- o // Some providers send twice at once.
			}
		case <-ctx.Done():
		}
	}
	close(orders)
	group.Wait()
}

// send sends an order once. That the load ends does not break it off.
func (s *sender) send(ctx context.Context, o *order) {
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, *s.system.url.Load()+"/in/"+o.source, bytes.NewReader(o.body))
	if err != nil {
		s.faults.add("an order cannot be sent: %v", err)
		return
	}
	identify(req.Header, o)
	sent := time.Now()
	resp, err := s.system.client.Do(req)
	s.ledger.note(o, sent)
	if err != nil {
		s.ledger.fail(o)
		pause(ctx, 20*time.Millisecond)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	var answer struct {
		ID string `json:"id"`
	}
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable, err != nil:
		s.ledger.fail(o)
	case resp.StatusCode != http.StatusOK:
		s.faults.add("the order %s is answered %d: %s", o.id, resp.StatusCode, bytes.TrimSpace(text))
	case json.Unmarshal(text, &answer) != nil || answer.ID == "":
		s.faults.add("the order %s is acknowledged without an event: %s", o.id, text)
	default:
		if other := s.ledger.acknowledge(o, answer.ID); other != "" {
			s.faults.add("the order %s was acknowledged as %s and then as %s", o.id, other, answer.ID)
		}
	}
}

// identify sets the headers that the provider sends with an order.
func identify(headers http.Header, o *order) {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(o.body)
	sum := mac.Sum(nil)
	headers.Set("Content-Type", "application/json")
	switch o.source {
	case "shop":
		headers.Set("X-Shopify-Topic", "orders/create")
		headers.Set("X-Shopify-Webhook-Id", o.id)
		headers.Set("X-Shopify-Event-Id", o.id)
		headers.Set("X-Shopify-Hmac-Sha256", base64.StdEncoding.EncodeToString(sum))
	case "hub":
		headers.Set("X-GitHub-Event", "push")
		headers.Set("X-GitHub-Delivery", o.id)
		headers.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(sum))
	default:
		headers.Set("X-Order-Id", o.id)
	}
}

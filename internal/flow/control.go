package flow

import (
	"cmp"
	"time"

	"malote.dev/malote/internal/filter"
	"malote.dev/malote/internal/hook"
)

// Limits of what a flow may ask for.
const (
	maxConcurrency = 1000
	maxInFlight    = 100_000
	maxBurst       = 100_000
	maxRetries     = 100
	maxFailures    = 10_000
	minProbe       = hook.Duration(100 * time.Millisecond)
	maxProbe       = hook.Duration(24 * time.Hour)
	maxDelay       = hook.Duration(365 * 24 * time.Hour)
	maxSkipAfter   = 1000
)

// lane judges how many deliveries a destination takes, and how fast.
func (c *check) lane(spec *hook.DestinationSpec) {
	c.needf(spec.Concurrency >= 0 && spec.Concurrency <= maxConcurrency, "concurrency",
		"%d is out of range: it goes from 1 to %d", spec.Concurrency, maxConcurrency)
	c.needf(spec.Burst >= 0 && spec.Burst <= maxBurst, "burst", "%d is out of range: it goes from 1 to %d", spec.Burst, maxBurst)
	c.needf(spec.Burst <= 0 || spec.Rate.Count > 0, "burst", "there is no rate that it is a part of: write rate, such as 50/s, or leave it out")
	concurrency := cmp.Or(spec.Concurrency, hook.DefaultConcurrency)
	switch {
	case spec.InFlight == 0:
	case spec.InFlight < 0 || spec.InFlight > maxInFlight:
		c.failf("inFlight", "%d is out of range: it goes from the concurrency to %d", spec.InFlight, maxInFlight)
	case spec.InFlight < concurrency:
		c.failf("inFlight", "%d is less than the concurrency, which is %d: raise it, or lower that", spec.InFlight, concurrency)
	}
}

func (c *check) circuit(policy *hook.CircuitPolicy) {
	if policy == nil {
		return
	}
	c.needf(!policy.Off || *policy == (hook.CircuitPolicy{Off: true}), "circuit", "off contradicts the rest: remove one of them")
	c.needf(policy.Failures >= 0 && policy.Failures <= maxFailures, "circuit.failures",
		"%d is out of range: it goes from 1 to %d", policy.Failures, maxFailures)
	c.probe("circuit.probe", policy.Probe)
	c.probe("circuit.maxProbe", policy.MaxProbe)
	probe := cmp.Or(policy.Probe, hook.DefaultProbe)
	c.needf(cmp.Or(policy.MaxProbe, max(probe, hook.DefaultMaxProbe)) >= probe, "circuit.maxProbe",
		"%s is less than the wait for the first probe, which is %s: raise it, or lower probe", policy.MaxProbe, probe)
}

// probe judges the wait for a probe.
func (c *check) probe(path string, wait hook.Duration) {
	c.needf(wait == 0 || wait >= minProbe && wait <= maxProbe, path, "%s is out of range: it goes from %s to %s", wait, minProbe, maxProbe)
}

func (c *check) quiet(quiet *hook.Quiet) {
	if quiet != nil {
		c.failed("quiet", quiet.Check())
	}
}

// times judges when deliveries begin, and when they are not made any more.
func (c *check) times(spec *hook.ConnectionSpec) {
	c.needf(spec.Delay >= 0 && spec.Delay <= maxDelay, "delay", "%s is out of range: %s is the most", spec.Delay, maxDelay)
	c.needf(spec.TTL == 0 || spec.TTL > spec.Delay, "ttl",
		"%s is not more than the delay, which is %s, so nothing would be delivered: raise it, or lower delay", spec.TTL, spec.Delay)
}

func (c *check) order(order *hook.Order) {
	if order.Key == "" {
		c.failf("order.key", "a key is needed: write a CEL expression, such as data.customer.id")
	} else {
		_, err := filter.CompileText(order.Key)
		c.failed("order.key", err)
	}
	stuck, err := hook.ParseStuck(order.Stuck)
	c.failed("order.stuck", err)
	c.needf(stuck.SkipAfter <= maxSkipAfter, "order.stuck", "%d attempts are out of range: %d is the most", stuck.SkipAfter, maxSkipAfter)
}

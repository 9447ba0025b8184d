package codec

import "malote.dev/malote/internal/hook"

// EncodeCircuit returns the column "data" of a circuit: all but its ids
// and how far it is within a round of its ramp.
func EncodeCircuit(c *hook.Circuit) []byte {
	e := newEncoder(64 + len(c.Reason))
	e.uint(uint64(c.State))
	e.text(c.Reason)
	e.time(c.Since)
	e.time(c.OpenedAt)
	e.time(c.ProbeAt)
	e.int(int64(c.Failures))
	e.int(int64(c.Probes))
	e.time(c.FailingSince)
	e.int(int64(c.Pace))
	return e.buf
}

// DecodeCircuit fills the fields of c that EncodeCircuit wrote.
func DecodeCircuit(data []byte, c *hook.Circuit) error {
	d := newDecoder(data)
	state := d.uint()
	if state > uint64(hook.CircuitRamp) {
		d.fail("unknown state of a circuit")
	}
	c.State = hook.CircuitState(state)
	c.Reason = d.text()
	c.Since = d.time()
	c.OpenedAt = d.time()
	c.ProbeAt = d.time()
	c.Failures = int(d.int())
	c.Probes = int(d.int())
	c.FailingSince = d.time()
	c.Pace = int(d.int())
	return d.end()
}

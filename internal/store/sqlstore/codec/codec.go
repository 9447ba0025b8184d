// Package codec writes what no query looks into as one compact column: a version byte,
// then fields in a fixed order. A number is a varint, a text its length and bytes.
// New fields go to the end, and a reader that finds none left takes zero, so that old
// rows stay readable; anything else needs a new version byte.
package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"malote.dev/malote/internal/hook"
)

// version is the first byte of every column.
const version = 1

// ErrCodec is wrapped by the errors of rows that cannot be read.
var ErrCodec = errors.New("a stored row is damaged or of an unknown format")

type encoder struct{ buf []byte }

func newEncoder(size int) *encoder {
	e := &encoder{buf: make([]byte, 0, size)}
	e.buf = append(e.buf, version)
	return e
}

func (e *encoder) uint(v uint64)     { e.buf = binary.AppendUvarint(e.buf, v) }
func (e *encoder) int(v int64)       { e.buf = binary.AppendVarint(e.buf, v) }
func (e *encoder) fixed(v int64)     { e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(v)) }
func (e *encoder) time(t time.Time)  { e.int(t.UnixMilli()) }
func (e *encoder) text(s string)     { e.uint(uint64(len(s))); e.buf = append(e.buf, s...) }
func (e *encoder) bytes(b []byte)    { e.uint(uint64(len(b))); e.buf = append(e.buf, b...) }
func (e *encoder) flags(on ...bool)  { e.buf = append(e.buf, packFlags(on)) }
func (e *encoder) texts(ss []string) { e.uint(uint64(len(ss))); each(ss, e.text) }

func each[T any](items []T, do func(T)) {
	for _, item := range items {
		do(item)
	}
}

func packFlags(on []bool) byte {
	var b byte
	for i, set := range on {
		if set {
			b |= 1 << i
		}
	}
	return b
}

// headers writes each name as its number in the table of common names, or as 0 and
// its text.
func (e *encoder) headers(h hook.Headers) {
	e.uint(uint64(len(h)))
	for i := range h {
		code := headerCode(h[i].Name)
		e.buf = append(e.buf, code)
		if code == 0 {
			e.text(h[i].Name)
		}
		e.text(h[i].Value)
	}
}

// decoder reads what encoder wrote. The first failure sticks; reads after it give
// zeros, so that callers ask once, at the end.
type decoder struct {
	data []byte
	err  error
}

func newDecoder(data []byte) *decoder {
	d := &decoder{data: data}
	if len(data) == 0 || data[0] != version {
		d.fail("no version byte")
		return d
	}
	d.data = data[1:]
	return d
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrCodec, what)
	}
	d.data = nil
}

// ended reports whether nothing is left: the row is older than the field asked for.
func (d *decoder) ended() bool { return d.err == nil && len(d.data) == 0 }

func (d *decoder) uint() uint64 {
	if d.ended() {
		return 0
	}
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) int() int64 {
	if d.ended() {
		return 0
	}
	v, n := binary.Varint(d.data)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) fixed() int64 {
	if len(d.data) < 8 {
		d.fail("bad id")
		return 0
	}
	v := int64(binary.BigEndian.Uint64(d.data))
	d.data = d.data[8:]
	return v
}

func (d *decoder) time() time.Time { return time.UnixMilli(d.int()).UTC() }

// raw returns the next length-prefixed bytes without copying them.
func (d *decoder) raw() []byte {
	size := d.uint()
	if size > uint64(len(d.data)) {
		d.fail("bad length")
		return nil
	}
	b := d.data[:size]
	d.data = d.data[size:]
	return b
}

func (d *decoder) text() string { return string(d.raw()) }

// bytes copies; it returns nil for no bytes.
func (d *decoder) bytes() []byte { return append([]byte(nil), d.raw()...) }

func (d *decoder) flag() byte {
	if len(d.data) == 0 {
		return 0
	}
	b := d.data[0]
	d.data = d.data[1:]
	return b
}

// count reads the length of a list whose items take at least one byte each.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.data)) {
		d.fail("bad count")
		return 0
	}
	return int(n)
}

func (d *decoder) texts() []string {
	var list []string
	for range d.count() {
		list = append(list, d.text())
	}
	return list
}

func (d *decoder) headers() hook.Headers {
	n := d.count()
	if n == 0 {
		return nil
	}
	list := make(hook.Headers, 0, n)
	for range n {
		if d.err != nil {
			return nil
		}
		code := d.flag()
		if int(code) >= len(headerNames) {
			d.fail("unknown header name")
			return nil
		}
		name := headerNames[code]
		if code == 0 {
			name = d.text()
		}
		list = append(list, hook.Header{Name: name, Value: d.text()})
	}
	return list
}

// end reports the first failure, or that bytes are left over.
func (d *decoder) end() error {
	if d.err == nil && len(d.data) != 0 {
		d.fail("bytes left over")
	}
	return d.err
}

package signature

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"sync"
	"time"

	"malote.dev/malote/internal/hook"
)

// Message is what a Signer signs: one attempt of one delivery.
type Message struct {
	ID     string    // the delivery's id, the same in every attempt, so that receivers can drop duplicates
	Time   time.Time // the moment of this attempt; schemes use whole seconds of Unix time
	Method string    // the request's method
	URL    string    // the absolute URL that is requested
	Body   []byte    // the exact bytes that are sent
}

// Signer signs outgoing requests by one scheme with one or more secrets. It is safe
// for concurrent use.
type Signer struct {
	keys    []signKey
	content signTemplate
	headers []signHeader
	encode  signEncoding
	states  sync.Pool // of *signState
}

// signHeader is one header that a Signer sets.
type signHeader struct {
	name  string
	value signTemplate
}

// signEncoding turns the bytes of a signature into text.
type signEncoding func(dst, sum []byte) []byte

// signState is the memory of one call of Sign, pooled because every delivery makes one.
type signState struct {
	macs   []hash.Hash // one per key; nil for Ed25519
	values signValues
	text   []byte // content to sign, then header values
	sum    []byte
}

// maxPooledText is the largest buffer that goes back to the pool, in bytes, so that
// one huge payload does not stay in memory.
const maxPooledText = 64 << 10

// NewSigner compiles sign; with None the signer sets no header. Every live secret signs
// where the scheme's header has room for a list (standard, ed25519, svix, stripe, and
// custom by {signatures}); elsewhere the newest one does. The error is a *hook.Error of
// KindInvalid whose Problems have paths relative to sign.
func NewSigner(sign *hook.Sign) (*Signer, error) {
	if sign == nil {
		sign = &hook.Sign{}
	}
	if sign.None {
		return &Signer{}, hook.Invalid("this signing rule cannot be used", noneProblems(sign))
	}
	recipe, problems := signRecipeFor(sign)
	signer := &Signer{encode: recipe.encode}
	if len(problems) == 0 {
		signer.content, problems = recipe.compileContent()
		var more []hook.Problem
		signer.headers, more = recipe.compileHeaders()
		problems = append(problems, more...)
		signer.keys, more = recipe.compileKeys(sign)
		problems = append(problems, more...)
	}
	if err := hook.Invalid("this signing rule cannot be used", problems); err != nil {
		return nil, err
	}
	signer.states.New = func() any { return signer.newState() }
	return signer, nil
}

// Sign computes the signature of m and calls set once for each header of the scheme.
// It fails when a value of m cannot stand in a header.
func (s *Signer) Sign(m *Message, set func(name, value string)) error {
	if len(s.headers) == 0 {
		return nil
	}
	state := s.states.Get().(*signState) //nolint:forcetypeassert // the pool holds nothing else
	defer s.release(state)

	values := &state.values
	values.message = m
	values.timestamp = strconv.FormatInt(m.Time.Unix(), 10)
	for i := range s.keys {
		state.sum = s.signWith(state, i)
		text := values.signatures[i][:0]
		text = append(text, s.keys[i].label...)
		values.signatures[i] = s.encode(text, state.sum)
	}
	for i := range s.headers {
		value, err := s.headers[i].text(state)
		if err != nil {
			return err
		}
		set(s.headers[i].name, value)
	}
	return nil
}

// newState returns the working memory for one call of Sign.
func (s *Signer) newState() *signState {
	state := &signState{
		macs:   make([]hash.Hash, len(s.keys)),
		values: signValues{signatures: make([][]byte, len(s.keys))},
	}
	for i := range s.keys {
		state.macs[i] = s.keys[i].newMAC()
	}
	return state
}

// release returns state to the pool without what belongs to the message.
func (s *Signer) release(state *signState) {
	state.values.message, state.values.timestamp = nil, ""
	if cap(state.text) > maxPooledText {
		state.text = nil
	}
	s.states.Put(state)
}

// signWith returns the signature bytes of the message by key i.
func (s *Signer) signWith(state *signState, i int) []byte {
	mac := state.macs[i]
	if mac == nil {
		state.text = s.content.append(state.text[:0], &state.values)
		return append(state.sum[:0], ed25519.Sign(s.keys[i].private, state.text)...)
	}
	mac.Reset()
	state.text = s.content.writeTo(mac, state.text[:0], &state.values)
	return mac.Sum(state.sum[:0])
}

// text returns the header's value for the message in state.
func (h *signHeader) text(state *signState) (string, error) {
	value, whole := h.value.whole(&state.values)
	if !whole {
		state.text = h.value.append(state.text[:0], &state.values)
		value = string(state.text)
	}
	if i := badFieldByte(value); i >= 0 {
		return "", hook.Errorf(hook.KindInvalid,
			"the value of the signing header %s would hold the byte 0x%02x, which no header may hold", h.name, value[i])
	}
	return value, nil
}

// badFieldByte returns the place of the first byte that cannot stand in a field
// value (RFC 9110, section 5.5, without obs-text), -1 when there is none.
func badFieldByte(value string) int {
	for i := range len(value) {
		if c := value[i]; (c < ' ' && c != '\t') || c >= 0x7f {
			return i
		}
	}
	return -1
}

// signEncodingFor returns the encoding of the given name.
func signEncodingFor(name string) (signEncoding, error) {
	switch name {
	case "", "hex":
		return hex.AppendEncode, nil
	case "base64":
		return base64.StdEncoding.AppendEncode, nil
	case "base64url":
		return base64.RawURLEncoding.AppendEncode, nil
	default:
		return nil, fmt.Errorf("%q is not an encoding: write hex, base64 or base64url", name)
	}
}

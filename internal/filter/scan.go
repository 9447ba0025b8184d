package filter

import "math/bits"

// maxDepth is how deep JSON may be nested, as in encoding/json.
const maxDepth = 10_000

// part is a member of an object, or an element of an array, as places in its text.
type part struct {
	keyFrom, keyTo int32 // the name between its quotes; unused in an array
	from, to       int32 // the value
	escaped        bool  // the name has escape sequences
}

// scan checks that text is one JSON value (RFC 8259) and, when that is an object or an
// array, appends where its parts are to parts. It goes over the text once, without
// recursion, so that hostile nesting costs a byte a level.
func scan(text string, parts []part) ([]part, bool) {
	var few [32]byte
	s := scanner{text: text, parts: parts, collect: true, open: few[:0]}
	ok := len(text) <= maxScan && s.run()
	return s.parts, ok
}

// maxScan bounds the text, whose places are 32 bits wide.
const maxScan = 1<<31 - 1

// ValidJSON reports whether payload is one JSON value, nested no deeper than
// encoding/json allows. What passes is safe to read with gjson.
func ValidJSON(payload []byte) bool {
	var few [32]byte
	s := scanner{text: alias(payload), open: few[:0]}
	return s.run()
}

type scanner struct {
	text    string
	at      int
	parts   []part
	collect bool   // the parts are wanted
	open    []byte // the brackets that are open: '{' or '['
}

func (s *scanner) run() bool {
	if !s.value() {
		return false
	}
	for len(s.open) > 0 {
		if s.collect && len(s.open) == 1 {
			s.parts[len(s.parts)-1].to = int32(s.at)
		}
		if !s.next() {
			return false
		}
	}
	s.space()
	return s.at == len(s.text)
}

// value goes over the scalars and opening brackets up to the end of one scalar or empty
// container.
func (s *scanner) value() bool {
	for {
		s.space()
		if s.at == len(s.text) {
			return false
		}
		switch c := s.text[s.at]; c {
		case '"':
			_, ok := s.str()
			return ok
		case '{', '[':
			if len(s.open) == maxDepth {
				return false
			}
			s.at++
			s.space()
			if s.at < len(s.text) && s.text[s.at] == c+2 { // '}' and ']' are two after their openings
				s.at++
				return true
			}
			s.open = append(s.open, c)
			if !s.begin() {
				return false
			}
		case 't':
			return s.word("true")
		case 'f':
			return s.word("false")
		case 'n':
			return s.word("null")
		default:
			return s.number()
		}
	}
}

// begin goes over what stands before a value in the innermost container: nothing, or a
// name and a colon. In the outermost one it notes the part.
func (s *scanner) begin() bool {
	var p part
	if s.open[len(s.open)-1] == '{' {
		s.space()
		if s.at == len(s.text) || s.text[s.at] != '"' {
			return false
		}
		p.keyFrom = int32(s.at + 1)
		var ok bool
		if p.escaped, ok = s.str(); !ok {
			return false
		}
		p.keyTo = int32(s.at - 1)
		s.space()
		if s.at == len(s.text) || s.text[s.at] != ':' {
			return false
		}
		s.at++
	}
	if s.collect && len(s.open) == 1 {
		s.space()
		p.from = int32(s.at)
		s.parts = append(s.parts, p)
	}
	return true
}

// next goes over what follows a value: a comma and the next value, or the container's end.
func (s *scanner) next() bool {
	s.space()
	if s.at == len(s.text) {
		return false
	}
	switch inside := s.open[len(s.open)-1]; s.text[s.at] {
	case ',':
		s.at++
		return s.begin() && s.value()
	case inside + 2:
		s.at++
		s.open = s.open[:len(s.open)-1]
		return true
	default:
		return false
	}
}

// space goes over white space, of which most places have none.
func (s *scanner) space() {
	if s.at < len(s.text) && s.text[s.at] <= ' ' {
		s.moreSpace()
	}
}

func (s *scanner) moreSpace() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\n', '\t', '\r':
			s.at++
		default:
			return
		}
	}
}

// str goes over a text, from its opening quote to behind the closing one.
func (s *scanner) str() (escaped, ok bool) {
	text := s.text
	for i := s.at + 1; ; i++ {
		i = special(text, i)
		if i == len(text) {
			return false, false
		}
		switch text[i] {
		case '"':
			s.at = i + 1
			return escaped, true
		case '\\':
			escaped = true
			width := escapeWidth(text[i+1:])
			if width == 0 {
				return false, false
			}
			i += width
		default: // a control character
			return false, false
		}
	}
}

// Bytes of a word, for looking at eight of them at once.
const (
	ones       = 0x0101010101010101
	highs      = 0x8080808080808080
	quotes     = 0x22 * ones
	backslash  = 0x5c * ones
	firstPlain = 0x20 * ones
)

// special returns where the next quote, backslash or control character is, from i on;
// the text's end when there is none.
func special(text string, i int) int {
	for ; i+8 <= len(text); i += 8 {
		word := uint64(text[i]) | uint64(text[i+1])<<8 | uint64(text[i+2])<<16 | uint64(text[i+3])<<24 |
			uint64(text[i+4])<<32 | uint64(text[i+5])<<40 | uint64(text[i+6])<<48 | uint64(text[i+7])<<56
		// A subtraction borrows from a byte's high bit when the byte is too small; the
		// lowest bit that is set is exact, those above it may be off.
		quote, slash := word^quotes, word^backslash
		found := ((quote-ones)&^quote | (slash-ones)&^slash | (word-firstPlain)&^word) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return len(text)
}

// escapeWidth returns how many bytes of text, which follows a backslash, belong to the
// escape sequence; 0 when it is none.
func escapeWidth(text string) int {
	if text == "" {
		return 0
	}
	switch text[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		if len(text) < 5 {
			return 0
		}
		for i := 1; i < 5; i++ {
			if !isHex(text[i]) {
				return 0
			}
		}
		return 5
	default:
		return 0
	}
}

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (s *scanner) word(word string) bool {
	end := s.at + len(word)
	if end > len(s.text) || s.text[s.at:end] != word {
		return false
	}
	s.at = end
	return true
}

func (s *scanner) number() bool {
	s.skip('-')
	if !s.skip('0') && !s.digits() {
		return false
	}
	if s.skip('.') && !s.digits() {
		return false
	}
	if s.skip('e') || s.skip('E') {
		if !s.skip('+') {
			s.skip('-')
		}
		return s.digits()
	}
	return true
}

func (s *scanner) skip(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) digits() bool {
	from := s.at
	for s.at < len(s.text) && isDigit(s.text[s.at]) {
		s.at++
	}
	return s.at > from
}

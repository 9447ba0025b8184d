package rule

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// maxValues is how many signatures of one request are tried.
const maxValues = 16

// locator finds the signatures in a request, and knows what they sign.
type locator struct {
	header, query, path string
	prefix              string
	list                *listGrammar
	encodings           []Encoding
	content             *message.Template
	time                *timeCheck
}

// listGrammar reads "t=1,v1=ab,v1=cd".
type listGrammar struct {
	separator, pair, signature, timestamp string
}

// found is what a locator found.
type found struct {
	values    [maxValues]string
	n         int
	timestamp string
}

func (f *found) all() []string { return f.values[:f.n] }

func (c *compiler) locator(s *hook.SignatureRule, p *problems) *locator {
	l := &locator{header: s.Header, query: s.Query, path: s.Path, prefix: s.Prefix}
	if count(s.Header != "", s.Query != "", s.Path != "") != 1 {
		p.addf("", "say where the signature is: one of header, query or path")
	}
	l.encodings = compileEncodings(s.Encoding, p)
	if s.List != nil {
		l.list = &listGrammar{
			separator: cmp.Or(s.List.Separator, ","), pair: cmp.Or(s.List.Pair, "="),
			signature: s.List.Signature, timestamp: s.List.Timestamp,
		}
		if s.List.Signature == "" {
			p.addf("list.signature", "say which pair holds the signature, such as v1")
		}
		if s.Prefix != "" {
			p.addf("prefix", "a list has no prefix: its pairs have names")
		}
	}
	l.content = c.template(cmp.Or(s.Content, "{body}"), "content", p)
	l.time = compileTime(s.Timestamp, s.List, p)
	if l.time == nil && l.content.Uses("timestamp") {
		p.addf("timestamp", "the content has {timestamp}: say where the time is")
	}
	return l
}

func compileEncodings(names []string, p *problems) []Encoding {
	if len(names) == 0 {
		return []Encoding{Hex}
	}
	out := make([]Encoding, 0, len(names))
	for _, name := range names {
		if !slices.Contains([]Encoding{Hex, Base64, Base64URL}, Encoding(name)) {
			p.addf("encoding", "%q is not an encoding: write hex, base64 or base64url", name)
		}
		out = append(out, Encoding(name))
	}
	return out
}

// headers returns the fields that decide, for explanations.
func (l *locator) headers() []string {
	names := l.content.Headers()
	if l.header != "" {
		names = append(names, l.header)
	}
	if l.time != nil && l.time.header != "" {
		names = append(names, l.time.header)
	}
	return names
}

func (l *locator) place() string {
	switch {
	case l.header != "":
		return "the header " + l.header
	case l.query != "":
		return "the query parameter " + l.query
	default:
		return "the field " + l.path
	}
}

func (l *locator) read(req *message.Request) string {
	switch {
	case l.header != "":
		return strings.TrimSpace(req.Headers.Get(l.header))
	case l.query != "":
		return req.QueryValue(l.query)
	default:
		text, _ := req.Field(l.path) // absent and empty are the same
		return text
	}
}

// find fills out with the signatures and the time.
func (l *locator) find(req *message.Request, out *found) *Refusal {
	text := l.read(req)
	if text == "" {
		return refusef(MissingSignature, "There is no signature: %s is missing.", l.place())
	}
	if l.list == nil {
		value, ok := strings.CutPrefix(text, l.prefix)
		if !ok {
			return refusef(MalformedSig, "The signature in %s does not begin with %s.", l.place(), strconv.Quote(l.prefix))
		}
		out.values[0], out.n = value, 1
	} else {
		l.list.read(text, out)
		if out.n == 0 {
			return refusef(MissingSignature, "%s holds no %s.", capital(l.place()), strconv.Quote(l.list.signature))
		}
	}
	out.timestamp = l.time.text(req, out.timestamp)
	return nil
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// read collects the signatures of the list and its time; what is not a pair is passed over.
func (g *listGrammar) read(text string, out *found) {
	for text != "" {
		var one string
		one, text, _ = strings.Cut(text, g.separator)
		name, value, ok := strings.Cut(one, g.pair)
		if !ok {
			continue
		}
		switch name = strings.TrimSpace(name); {
		case name == g.signature && out.n < maxValues:
			out.values[out.n] = strings.TrimSpace(value)
			out.n++
		case name == g.timestamp && name != "" && out.timestamp == "":
			out.timestamp = strings.TrimSpace(value)
		}
	}
}

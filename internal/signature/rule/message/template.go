package message

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Purpose says where a template stands, which decides what may be in it.
type Purpose uint8

// The purposes of templates.
const (
	ForContent Purpose = iota // the signed text: optional sections, {timestamp}, {secret}
	ForReply                  // a handshake's answer: HMACs of what was sent
	ForMatch                  // a value that a handshake must have: {secret}
)

// Template is a text with placeholders, compiled. README.md of the profiles is its
// reference.
type Template struct {
	parts []part
}

type part struct {
	literal  string
	kind     partKind
	arg      string
	filters  []filter
	optional []part // kind partOptional: left out when a placeholder in it is empty
}

type partKind uint8

const (
	partLiteral partKind = iota
	partOptional
	partBody
	partBodySorted
	partMethod
	partURL
	partHost
	partPath
	partQuery
	partTimestamp
	partCRC32
	partSecret
	partHeader
	partQueryValue
	partField
	partSetting
)

func plainParts() map[string]partKind {
	return map[string]partKind{
		"body": partBody, "body.sorted": partBodySorted, "method": partMethod, "url": partURL,
		"host": partHost, "path": partPath, "query": partQuery, "timestamp": partTimestamp,
		"crc32": partCRC32, "secret": partSecret,
	}
}

func namedParts() map[string]partKind {
	return map[string]partKind{
		"header": partHeader, "query": partQueryValue, "field": partField, "setting": partSetting,
	}
}

// maxTemplate is the longest template text.
const maxTemplate = 4096

// Parse compiles a template. The error says what to write instead.
func Parse(text string, purpose Purpose) (*Template, error) {
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("the template is longer than %d bytes", maxTemplate)
	}
	p := templateParser{text: text, purpose: purpose}
	parts, err := p.parse(false)
	if err != nil {
		return nil, err
	}
	return &Template{parts: parts}, nil
}

type templateParser struct {
	text    string
	at      int
	purpose Purpose
}

// partList gathers parts, and literal text between them.
type partList struct {
	parts   []part
	literal strings.Builder
}

func (l *partList) add(one part) { l.parts = append(l.all(), one) }

func (l *partList) all() []part {
	if l.literal.Len() > 0 {
		l.parts = append(l.parts, part{kind: partLiteral, literal: l.literal.String()})
		l.literal.Reset()
	}
	return l.parts
}

// isBracket says whether the character bounds an optional section.
func (p *templateParser) isBracket(c byte) bool {
	return p.purpose == ForContent && (c == '[' || c == ']')
}

// parse reads up to the end, or up to "]" in an optional section.
func (p *templateParser) parse(inside bool) ([]part, error) {
	var out partList
	for p.at < len(p.text) {
		c := p.text[p.at]
		doubled := p.at+1 < len(p.text) && p.text[p.at+1] == c
		switch {
		case doubled && (c == '{' || p.isBracket(c)):
			out.literal.WriteByte(c)
			p.at += 2
		case c == '{':
			one, err := p.placeholder()
			if err != nil {
				return nil, err
			}
			out.add(one)
		case inside && p.isBracket(c) && c == ']':
			p.at++
			return out.all(), nil
		case p.isBracket(c):
			section, err := p.section(inside)
			if err != nil {
				return nil, err
			}
			out.add(section)
		default:
			out.literal.WriteByte(c)
			p.at++
		}
	}
	if inside {
		return nil, fmt.Errorf("an optional section is not closed: a %q is missing", "]")
	}
	return out.all(), nil
}

// section reads an optional section; they do not nest.
func (p *templateParser) section(inside bool) (part, error) {
	if p.text[p.at] == ']' || inside {
		return part{}, fmt.Errorf("a %q at position %d has no counterpart: write it twice for the character itself", p.text[p.at], p.at+1)
	}
	p.at++
	parts, err := p.parse(true)
	return part{kind: partOptional, optional: parts}, err
}

func (p *templateParser) placeholder() (part, error) {
	end := strings.IndexByte(p.text[p.at:], '}')
	if end < 0 {
		return part{}, fmt.Errorf("a placeholder is not closed at position %d: write {name}, or {{ for the character itself", p.at+1)
	}
	inner := p.text[p.at+1 : p.at+end]
	p.at += end + 1
	name, filters, _ := strings.Cut(inner, "|")
	one, err := p.named(name)
	if err != nil {
		return part{}, err
	}
	if filters == "" {
		return one, nil
	}
	for word := range strings.SplitSeq(filters, "|") {
		f, ok := filterNamed(word)
		if !ok || f == filterHMAC && p.purpose != ForReply {
			return part{}, fmt.Errorf("%q is not a filter that can be used here: the filters are %s", word, filterNames(p.purpose))
		}
		one.filters = append(one.filters, f)
	}
	return one, nil
}

func (p *templateParser) named(name string) (part, error) {
	if group, arg, ok := strings.Cut(name, ":"); ok {
		kind, known := namedParts()[group]
		if known && arg != "" {
			return part{kind: kind, arg: arg}, nil
		}
		return part{}, fmt.Errorf("{%s} is not known: write {header:name}, {query:name}, {field:a.b} or {setting:name}", name)
	}
	kind, known := plainParts()[name]
	switch {
	case !known:
		return part{}, fmt.Errorf("{%s} is not known: there are {%s}, {header:…}, {query:…}, {field:…} and {setting:…}",
			name, strings.Join(slices.Sorted(maps.Keys(plainParts())), "}, {"))
	case kind == partTimestamp && p.purpose != ForContent:
		return part{}, fmt.Errorf("{timestamp} is only known in the signed content")
	case kind == partSecret && p.purpose == ForReply:
		return part{}, fmt.Errorf("{secret} is never sent: use the filter hmac-sha256")
	}
	return part{kind: kind}, nil
}

// Uses says whether the template reads the kind of thing that name is, as written
// in a placeholder: "body", "secret", "setting".
func (t *Template) Uses(name string) bool {
	kind, ok := plainParts()[name]
	if !ok {
		kind = namedParts()[name]
	}
	return uses(t.parts, func(p *part) bool { return p.kind == kind })
}

// Settings returns the names of the settings that the template reads.
func (t *Template) Settings() []string {
	var names []string
	uses(t.parts, func(p *part) bool {
		if p.kind == partSetting {
			names = append(names, p.arg)
		}
		return false
	})
	return names
}

// Headers returns the names of the header fields that the template reads.
func (t *Template) Headers() []string {
	var names []string
	uses(t.parts, func(p *part) bool {
		if p.kind == partHeader {
			names = append(names, p.arg)
		}
		return false
	})
	return names
}

func uses(parts []part, is func(*part) bool) bool {
	for i := range parts {
		if is(&parts[i]) || uses(parts[i].optional, is) {
			return true
		}
	}
	return false
}

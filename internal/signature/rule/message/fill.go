package message

import (
	"hash/crc32"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
)

// Env is what a template is filled in with.
type Env struct {
	Request   *Request
	Settings  map[string]string
	Timestamp string // as it was sent
	Secret    string // the one being tried
	Key       []byte // of the filter hmac-sha256

	refused bool // something that is no challenge was to be signed
}

// Refused says whether the filter hmac-sha256 met a value that does not look like a
// challenge. What was filled in must not be sent then: whoever may have anything signed
// with the secret can forge requests.
func (e *Env) Refused() bool { return e.refused }

// Append appends the filled-in template to dst.
func (t *Template) Append(dst []byte, env *Env) []byte {
	for i := range t.parts {
		dst, _ = t.parts[i].append(dst, env)
	}
	return dst
}

// Text returns the filled-in template.
func (t *Template) Text(env *Env) string { return string(t.Append(nil, env)) }

// WriteTo writes the filled-in template to w, a hash, whose Write cannot fail. The raw
// body is handed over as it is; scratch is room for the rest and is returned for reuse.
func (t *Template) WriteTo(w io.Writer, scratch []byte, env *Env) []byte {
	scratch = scratch[:0]
	for i := range t.parts {
		p := &t.parts[i]
		if p.kind == partBody && len(p.filters) == 0 {
			_, _ = w.Write(scratch)
			_, _ = w.Write(env.Request.Body)
			scratch = scratch[:0]
			continue
		}
		scratch, _ = p.append(scratch, env)
	}
	_, _ = w.Write(scratch)
	return scratch
}

// append appends the part, and says whether a placeholder in it had a value.
func (p *part) append(dst []byte, env *Env) ([]byte, bool) {
	if p.kind == partLiteral {
		return append(dst, p.literal...), true
	}
	start := len(dst)
	if p.kind == partOptional {
		for i := range p.optional {
			var ok bool
			if dst, ok = p.optional[i].append(dst, env); !ok {
				return dst[:start], true
			}
		}
		return dst, true
	}
	dst = p.value(dst, env)
	if len(p.filters) > 0 {
		value := append([]byte(nil), dst[start:]...)
		for _, f := range p.filters {
			value = f.apply(value, env)
		}
		dst = append(dst[:start], value...)
	}
	return dst, len(dst) > start
}

func (p *part) value(dst []byte, env *Env) []byte {
	req := env.Request
	switch p.kind {
	case partBody:
		return append(dst, req.Body...)
	case partMethod:
		return append(dst, req.Method...)
	case partTimestamp:
		return append(dst, env.Timestamp...)
	case partSecret:
		return append(dst, env.Secret...)
	case partHeader:
		return append(dst, req.Headers.Get(p.arg)...)
	case partQueryValue:
		return append(dst, req.QueryValue(p.arg)...)
	case partSetting:
		return append(dst, env.Settings[p.arg]...)
	case partField:
		text, _ := req.Field(p.arg) // absent and empty are the same
		return append(dst, text...)
	case partCRC32:
		return strconv.AppendUint(dst, uint64(crc32.ChecksumIEEE(req.Body)), 10)
	case partBodySorted:
		return appendSorted(dst, req)
	case partURL, partHost, partPath, partQuery:
		return p.address(dst, req)
	case partLiteral, partOptional:
		return dst
	}
	return dst
}

func (p *part) address(dst []byte, req *Request) []byte {
	switch p.kind {
	case partURL:
		return append(dst, req.URL...)
	case partQuery:
		return append(dst, req.Query...)
	default:
	}
	parsed, err := url.Parse(req.URL)
	if err != nil {
		return dst
	}
	if p.kind == partHost {
		return append(dst, parsed.Host...)
	}
	return append(dst, parsed.EscapedPath()...)
}

func appendSorted(dst []byte, req *Request) []byte {
	form, ok := req.Form()
	if !ok {
		return append(dst, req.Body...) // what cannot be sorted is not left unsigned
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, value := range form[name] {
			dst = append(append(dst, name...), value...)
		}
	}
	return dst
}

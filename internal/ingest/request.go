package ingest

import (
	"cmp"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

// settingURL is the setting of a source that says under which address its sender knows
// it, for the schemes that sign the address.
const settingURL = "url"

// describe fills what is known of the request before its body.
func (x *exchange) describe(r *http.Request, rest string) {
	peer := peerOf(r)
	trusted := x.trusts(peer)
	remote := peer
	if trusted {
		remote = x.forwardedFor(r, peer)
	}
	x.request = signature.Request{
		Method:  r.Method,
		URL:     x.calledURL(r, rest, trusted),
		Query:   r.URL.RawQuery,
		Headers: headersOf(r),
		Remote:  remote,
		Peer:    peer,
		Now:     x.began,
	}
	if rest != "" {
		x.request.Path = "/" + rest
	}
	if r.TLS != nil {
		x.request.Certificates = r.TLS.PeerCertificates
	}
}

// peerOf returns the address of the other end of the connection; the zero Addr when it
// is not an IP address.
func peerOf(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap().WithZone("")
}

// Remote returns the address that a request came from, as the trusted proxies tell it;
// "" when that is not an IP address.
func (h *Handler) Remote(r *http.Request) string {
	address := peerOf(r)
	if h.trusts(address) {
		address = h.forwardedFor(r, address)
	}
	if !address.IsValid() {
		return ""
	}
	return address.String()
}

func (h *Handler) trusts(address netip.Addr) bool {
	for _, prefix := range h.options.TrustProxy {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// forwardedFor returns the sender's address as the trusted proxies tell it: going from
// the last entry to the first, the first address that is not a trusted proxy. What
// stands before it was written by the sender and proves nothing.
func (h *Handler) forwardedFor(r *http.Request, peer netip.Addr) netip.Addr {
	entries := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	address := peer
	for _, entry := range slices.Backward(entries) {
		next, ok := parseForwarded(entry)
		if !ok {
			return address
		}
		address = next
		if !h.trusts(address) {
			return address
		}
	}
	return address
}

// parseForwarded reads an entry of X-Forwarded-For, with or without a port.
func parseForwarded(entry string) (netip.Addr, bool) {
	entry = strings.TrimSpace(entry)
	if address, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
		return address.Unmap(), true
	}
	if withPort, err := netip.ParseAddrPort(entry); err == nil {
		return withPort.Addr().Unmap(), true
	}
	return netip.Addr{}, false
}

// calledURL rebuilds the absolute address that the sender called: what the source's
// setting says, or what the operator says of this server, or else the request's own host
// and scheme, or what a trusted proxy says of them.
func (x *exchange) calledURL(r *http.Request, rest string, trusted bool) string {
	if set := x.source.Effective.Settings[settingURL]; set != "" {
		return registeredURL(set, rest, r.URL.RawQuery)
	}
	uri := r.RequestURI
	if !strings.HasPrefix(uri, "/") {
		uri = r.URL.RequestURI() // the absolute form, as to a proxy
	}
	if public := x.options.PublicURL; public != "" {
		return strings.TrimSuffix(public, "/") + uri
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if trusted {
		scheme = cmp.Or(firstOf(r.Header.Get("X-Forwarded-Proto")), scheme)
		host = cmp.Or(firstOf(r.Header.Get("X-Forwarded-Host")), host)
	}
	return scheme + "://" + host + uri
}

// registeredURL completes the address that a source is known by with the request's
// path below it and its query, unless it has a query of its own.
func registeredURL(set, rest, query string) string {
	base, ownQuery, hasQuery := strings.Cut(set, "?")
	if rest != "" {
		base = strings.TrimSuffix(base, "/") + "/" + rest
	}
	switch {
	case hasQuery:
		return base + "?" + ownQuery
	case query != "":
		return base + "?" + query
	default:
		return base
	}
}

func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(first)
}

// headersOf lists a request's header fields in the order of their names, Host among
// them; net/http does not keep the order in which they came.
func headersOf(r *http.Request) hook.Headers {
	headers := make(hook.Headers, 0, len(r.Header)+1)
	if r.Host != "" {
		headers = append(headers, hook.Header{Name: "Host", Value: r.Host})
	}
	for name, values := range r.Header {
		for _, value := range values {
			headers = append(headers, hook.Header{Name: name, Value: value})
		}
	}
	slices.SortStableFunc(headers, func(a, b hook.Header) int { return strings.Compare(a.Name, b.Name) })
	return headers
}

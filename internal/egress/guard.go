package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Guard decides which addresses may be reached. It never changes and is safe for
// concurrent use.
type Guard struct {
	open     bool // everything may be reached
	allow    []allowance
	ranges4  []addressRange
	ranges6  []addressRange
	metadata []netip.Addr
	global6  netip.Prefix
	dialer   net.Dialer
}

// allowance opens a range, at one port or (0) at all.
type allowance struct {
	prefix netip.Prefix
	port   uint16
}

// BlockedError says that an address may not be reached, by which rule, and how the
// operator can open it.
type BlockedError struct {
	Address netip.AddrPort // as it was to be dialled
	Rule    string         // completes "… is …": "a private address"
}

// Error implements error.
func (e *BlockedError) Error() string {
	return fmt.Sprintf("%s is %s, which deliveries may not reach; to open it start malote with --allow-private %s",
		e.Address, e.Rule, e.Allowance())
}

// Allowance returns the narrowest entry that would open the address.
func (e *BlockedError) Allowance() string {
	addr := canonical(e.Address.Addr())
	single := netip.PrefixFrom(addr, addr.BitLen()).String()
	if addr.Is6() {
		single = "[" + single + "]"
	}
	return single + ":" + strconv.Itoa(int(e.Address.Port()))
}

// Timings of a dial. The context of a request usually ends it earlier.
const (
	dialTimeout = 10 * time.Second
	keepAlive   = 30 * time.Second
)

// NewGuard returns a guard that opens the given ranges in addition to all public
// addresses. An entry is CIDR or CIDR:PORT; a single address is a CIDR of its own;
// IPv6 with a port is written [CIDR]:PORT.
func NewGuard(allow []string) (*Guard, error) {
	guard := newGuard()
	for _, entry := range allow {
		parsed, err := parseAllowance(entry)
		if err != nil {
			return nil, err
		}
		guard.allow = append(guard.allow, parsed)
	}
	return guard, nil
}

// NewOpenGuard returns a guard that closes no address. It is for the commands, whose
// person says where to connect, and for checks before a server applies its own rules.
func NewOpenGuard() *Guard {
	guard := newGuard()
	guard.open = true
	return guard
}

func newGuard() *Guard {
	guard := &Guard{
		ranges4: ranges4(), ranges6: ranges6(), metadata: metadataAddresses(),
		global6: netip.MustParsePrefix("2000::/3"),
	}
	guard.dialer = net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive, ControlContext: guard.control}
	return guard
}

// parseAllowance reads one entry of the allow list.
func parseAllowance(entry string) (allowance, error) {
	bad := func(reason string) (allowance, error) {
		return allowance{}, fmt.Errorf("allowed range %q: %s; write CIDR or CIDR:PORT, such as 10.0.0.0/8, 127.0.0.1:9000 or [fd00::/8]:443", entry, reason)
	}
	network, port, ok := splitAllowance(strings.TrimSpace(entry))
	if !ok {
		return bad("the brackets do not match")
	}
	var out allowance
	if port != "" {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return bad("the port is not a number from 1 to 65535")
		}
		out.port = uint16(number)
	}
	prefix, err := ParsePrefix(network)
	if err != nil {
		return bad("the network is not a CIDR")
	}
	if prefix.Masked() != prefix {
		return bad("the address has bits beyond its length; the range is " + prefix.Masked().String())
	}
	out.prefix = prefix
	return out, nil
}

// splitAllowance separates the network from the port.
func splitAllowance(entry string) (network, port string, ok bool) {
	if rest, found := strings.CutPrefix(entry, "["); found {
		network, after, closed := strings.Cut(rest, "]")
		port, found := strings.CutPrefix(after, ":")
		return network, port, closed && (after == "" || found && port != "")
	}
	address, bits, hasBits := strings.Cut(entry, "/")
	if hasBits {
		bits, port, found := strings.Cut(bits, ":")
		return address + "/" + bits, port, !found || port != ""
	}
	if strings.Count(entry, ":") == 1 {
		network, port, _ := strings.Cut(entry, ":")
		return network, port, port != ""
	}
	return entry, "", true
}

// ParsePrefix reads a CIDR, or a single address as the range of itself, v4-mapped forms
// as IPv4. Zones are an error.
func ParsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		if addr.Zone() != "" {
			return netip.Prefix{}, errors.New("zones are not possible")
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return netip.Prefix{}, errors.New("wider than IPv4")
		}
		return netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96), nil
	}
	return prefix, nil
}

// Check judges one address. Its error is a *BlockedError.
func (g *Guard) Check(address netip.AddrPort) error {
	addr := canonical(address.Addr())
	rule := g.rule(addr)
	if g.open || rule == "" || g.allowed(addr, address.Port(), rule == ruleMetadata) {
		return nil
	}
	return &BlockedError{Address: address, Rule: rule}
}

// rule returns what closes an address; "" when it is public.
func (g *Guard) rule(addr netip.Addr) string {
	if slices.Contains(g.metadata, addr) {
		return ruleMetadata
	}
	ranges := g.ranges6
	if addr.Is4() {
		ranges = g.ranges4
	}
	for i := range ranges {
		if ranges[i].prefix.Contains(addr) {
			return ranges[i].rule
		}
	}
	if addr.Is4() {
		return ""
	}
	if !g.global6.Contains(addr) {
		return ruleOutside
	}
	if inner, ok := isatap(addr); ok && g.rule(inner) != "" {
		return ruleISATAP
	}
	return ""
}

// allowed reports whether an entry opens the address; exact asks for an entry of
// this address alone.
func (g *Guard) allowed(addr netip.Addr, port uint16, exact bool) bool {
	for _, entry := range g.allow {
		if entry.port != 0 && entry.port != port {
			continue
		}
		if entry.prefix.Contains(addr) && (!exact || entry.prefix.IsSingleIP()) {
			return true
		}
	}
	return false
}

// control runs between the resolution of a name and the connection to its address.
func (g *Guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("network %q is not possible, only TCP", network)
	}
	resolved, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address to dial: %w", err)
	}
	return g.Check(resolved)
}

// DialContext connects to an address, of TCP only, that the guard allows. It is what
// http.Transport and similar options ask for.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return g.dialer.DialContext(ctx, network, address)
}

// CheckURL judges a URL when somebody saves it: scheme, host, and the address where
// it is written out. A name is judged when it is dialled, because its address may
// change at any time. The error's text tells how to mend the URL; where an address is
// closed it wraps a *BlockedError.
func (g *Guard) CheckURL(rawURL string) error {
	parsed, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse repeats the URL, which may hold a password.
		return errors.New("this is not a URL; write it as https://host/path")
	}
	host := parsed.Hostname()
	switch {
	case parsed.Scheme != "https" && parsed.Scheme != "http":
		return fmt.Errorf("the scheme is %q; a URL begins with https:// or http://", parsed.Scheme)
	case parsed.User != nil:
		return errors.New("the URL holds a user name or password; set them as auth.basic instead")
	case host == "" || parsed.Opaque != "":
		return errors.New("the URL has no host; write it as https://host/path")
	}
	port, err := portOf(parsed)
	if err != nil {
		return err
	}
	if isLocalName(host) {
		four, six := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port), netip.AddrPortFrom(netip.IPv6Loopback(), port)
		if err := g.Check(four); err != nil && g.Check(six) != nil {
			return fmt.Errorf("%s is this machine: %w", host, err)
		}
		return nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil //nolint:nilerr // a name, which is judged when it is dialled
	}
	return g.Check(netip.AddrPortFrom(addr, port))
}

// portOf returns the port that a URL leads to.
func portOf(parsed *url.URL) (uint16, error) {
	text := parsed.Port()
	switch {
	case text == "" && strings.HasSuffix(parsed.Host, ":"):
		return 0, errors.New("the URL has a colon after the host and no port")
	case text == "" && parsed.Scheme == "http":
		return 80, nil
	case text == "":
		return 443, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("port %s: ports go from 1 to 65535", text)
	}
	return uint16(port), nil
}

// isLocalName reports whether a name always means this machine (RFC 6761, 6.3).
func isLocalName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

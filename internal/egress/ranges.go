package egress

import (
	"encoding/binary"
	"net/netip"
)

// addressRange is a block of addresses that is closed unless an operator opens it.
type addressRange struct {
	prefix netip.Prefix
	rule   string // completes "… is …": "a private address"
}

// Names of the rules that code refers to.
const (
	ruleMetadata = "a cloud metadata address"
	ruleOutside  = "outside the global unicast range of IPv6"
	ruleISATAP   = "an ISATAP address of a closed IPv4 address"
)

// ranges4 follows the IANA IPv4 Special-Purpose Address Registry, with multicast and
// the 6to4 relay block (RFC 7526) added.
func ranges4() []addressRange {
	return []addressRange{
		{netip.MustParsePrefix("0.0.0.0/8"), "an address of \"this network\" (RFC 791)"},
		{netip.MustParsePrefix("10.0.0.0/8"), "a private address"},
		{netip.MustParsePrefix("100.64.0.0/10"), "a carrier-grade NAT address (RFC 6598)"},
		{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address"},
		{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address"},
		{netip.MustParsePrefix("172.16.0.0/12"), "a private address"},
		{netip.MustParsePrefix("192.0.0.0/24"), "an address for protocol assignments (RFC 6890)"},
		{netip.MustParsePrefix("192.0.2.0/24"), "a documentation address"},
		{netip.MustParsePrefix("192.88.99.0/24"), "a 6to4 relay address"},
		{netip.MustParsePrefix("192.168.0.0/16"), "a private address"},
		{netip.MustParsePrefix("198.18.0.0/15"), "a benchmarking address"},
		{netip.MustParsePrefix("198.51.100.0/24"), "a documentation address"},
		{netip.MustParsePrefix("203.0.113.0/24"), "a documentation address"},
		{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
		{netip.MustParsePrefix("255.255.255.255/32"), "the broadcast address"},
		{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address"},
	}
}

// ranges6 follows the IANA IPv6 Special-Purpose Address Registry. What is neither
// here nor in 2000::/3 is closed by ruleOutside.
func ranges6() []addressRange {
	return []addressRange{
		{netip.MustParsePrefix("::/128"), "the unspecified address"},
		{netip.MustParsePrefix("::1/128"), "a loopback address"},
		{netip.MustParsePrefix("::/96"), "an IPv4-compatible address, which is deprecated"},
		{netip.MustParsePrefix("64:ff9b:1::/48"), "a local-use NAT64 address (RFC 8215)"},
		{netip.MustParsePrefix("100::/64"), "a discard address"},
		{netip.MustParsePrefix("100:0:0:1::/64"), "a dummy prefix address (RFC 9780)"},
		{netip.MustParsePrefix("2001::/32"), "a Teredo address"},
		{netip.MustParsePrefix("2001:2::/48"), "a benchmarking address"},
		{netip.MustParsePrefix("2001:db8::/32"), "a documentation address"},
		{netip.MustParsePrefix("2001::/23"), "an address for protocol assignments (RFC 2928)"},
		{netip.MustParsePrefix("2002::/16"), "a 6to4 address"},
		{netip.MustParsePrefix("3fff::/20"), "a documentation address"},
		{netip.MustParsePrefix("5f00::/16"), "a segment routing address"},
		{netip.MustParsePrefix("fc00::/7"), "a unique local address"},
		{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
		{netip.MustParsePrefix("fec0::/10"), "a site-local address, which is deprecated"},
		{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
	}
}

// metadataAddresses hand out credentials of the machine to whoever asks. They are
// opened only by an entry of that very address, never by a range that contains it.
func metadataAddresses() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("169.254.169.254"),   // AWS, Google, Azure, Oracle, DigitalOcean, Hetzner, OpenStack
		netip.MustParseAddr("169.254.170.2"),     // AWS ECS task credentials
		netip.MustParseAddr("169.254.170.23"),    // AWS EKS pod identity
		netip.MustParseAddr("169.254.0.23"),      // Tencent Cloud
		netip.MustParseAddr("100.100.100.200"),   // Alibaba Cloud
		netip.MustParseAddr("168.63.129.16"),     // Azure host agent, a public address
		netip.MustParseAddr("192.0.0.192"),       // Oracle Cloud, classic
		netip.MustParseAddr("fd00:ec2::254"),     // AWS
		netip.MustParseAddr("fd00:ec2::23"),      // AWS EKS pod identity
		netip.MustParseAddr("fd20:ce::254"),      // Google
		netip.MustParseAddr("fd00:42::42"),       // Scaleway
		netip.MustParseAddr("fe80::a9fe:a9fe"),   // OpenStack
		netip.MustParseAddr("fd00:a9fe:a9fe::1"), // Linode
	}
}

// canonical reduces an address to the one that a packet to it ends at, as far as
// that can be told: v4-mapped addresses (RFC 4291) and the well-known NAT64 prefix
// (RFC 6052), by which networks without IPv4 reach all of it. Tunnels whose far end
// is anybody's guess (6to4, Teredo) are closed ranges instead.
func canonical(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("").Unmap()
	if addr.Is6() && netip.PrefixFrom(netip.AddrFrom16([16]byte{0, 0x64, 0xff, 0x9b}), 96).Contains(addr) {
		bytes := addr.As16()
		return netip.AddrFrom4([4]byte(bytes[12:]))
	}
	return addr
}

// isatap returns the IPv4 address within an ISATAP interface identifier (RFC 5214,
// section 6.1), which may stand under any prefix.
func isatap(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	bytes := addr.As16()
	identifier := binary.BigEndian.Uint32(bytes[8:12])
	if identifier&^0x02000000 != 0x00005efe {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(bytes[12:])), true
}

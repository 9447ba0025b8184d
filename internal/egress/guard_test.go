package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustGuard(t testing.TB, allow ...string) *Guard {
	t.Helper()
	guard, err := NewGuard(allow)
	if err != nil {
		t.Fatal(err)
	}
	return guard
}

func TestCheck(t *testing.T) {
	guard := mustGuard(t)
	tests := []struct {
		addr string
		rule string // part of it; "" for public
	}{
		{"8.8.8.8", ""},
		{"1.1.1.1", ""},
		{"100.63.255.255", ""},
		{"100.128.0.0", ""},
		{"172.15.255.255", ""},
		{"172.32.0.0", ""},
		{"192.167.255.255", ""},
		{"198.17.255.255", ""},
		{"198.20.0.0", ""},
		{"223.255.255.255", ""},
		{"0.0.0.0", "this network"},
		{"0.1.2.3", "this network"},
		{"10.0.0.1", "private"},
		{"10.255.255.255", "private"},
		{"100.64.0.1", "carrier-grade"},
		{"100.127.255.255", "carrier-grade"},
		{"127.0.0.1", "loopback"},
		{"127.255.255.254", "loopback"},
		{"169.254.1.1", "link-local"},
		{"169.254.169.254", "metadata"},
		{"169.254.170.2", "metadata"},
		{"100.100.100.200", "metadata"},
		{"168.63.129.16", "metadata"},
		{"172.16.0.1", "private"},
		{"172.31.255.255", "private"},
		{"192.0.0.8", "protocol assignments"},
		{"192.0.2.1", "documentation"},
		{"192.88.99.1", "6to4"},
		{"192.168.1.1", "private"},
		{"198.18.0.1", "benchmarking"},
		{"198.19.255.255", "benchmarking"},
		{"198.51.100.7", "documentation"},
		{"203.0.113.7", "documentation"},
		{"224.0.0.1", "multicast"},
		{"239.255.255.255", "multicast"},
		{"240.0.0.1", "reserved"},
		{"255.255.255.255", "broadcast"},

		{"2606:4700:4700::1111", ""},
		{"2001:4860:4860::8888", ""},
		{"2a00::1", ""},
		{"::", "unspecified"},
		{"::1", "loopback"},
		{"::127.0.0.1", "IPv4-compatible"},
		{"::ffff:127.0.0.1", "loopback"},
		{"::ffff:10.1.2.3", "private"},
		{"::ffff:a9fe:a9fe", "metadata"},
		{"::ffff:8.8.8.8", ""},
		{"::ffff:0:10.1.2.3", "outside"},
		{"64:ff9b::10.0.0.1", "private"},
		{"64:ff9b::127.0.0.1", "loopback"},
		{"64:ff9b::169.254.169.254", "metadata"},
		{"64:ff9b::8.8.8.8", ""},
		{"64:ff9b:1::10.0.0.1", "NAT64"},
		{"64:ff9b:1::8.8.8.8", "NAT64"},
		{"100::1", "discard"},
		{"100:0:0:1::1", "dummy"},
		{"2001::1", "Teredo"},
		{"2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"},
		{"2001:2::1", "benchmarking"},
		{"2001:20::1", "protocol assignments"},
		{"2001:db8::1", "documentation"},
		{"2002:7f00:1::", "6to4"},
		{"2002:808:808::1", "6to4"},
		{"2600::5efe:10.0.0.1", "ISATAP"},
		{"2600::200:5efe:127.0.0.1", "ISATAP"},
		{"2600::5efe:8.8.8.8", ""},
		{"3fff::1", "documentation"},
		{"3ffe::1", ""},
		{"4000::1", "outside"},
		{"5f00::1", "segment routing"},
		{"fc00::1", "unique local"},
		{"fd12:3456::1", "unique local"},
		{"fd00:ec2::254", "metadata"},
		{"fe80::1", "link-local"},
		{"fe80::1%eth0", "link-local"},
		{"fec0::1", "site-local"},
		{"ff02::1", "multicast"},
		{"ffff::1", "multicast"},
	}
	for _, test := range tests {
		t.Run(test.addr, func(t *testing.T) {
			address := netip.AddrPortFrom(netip.MustParseAddr(test.addr), 443)
			err := guard.Check(address)
			if test.rule == "" {
				if err != nil {
					t.Fatalf("a public address is refused: %v", err)
				}
				return
			}
			var blocked *BlockedError
			if !errors.As(err, &blocked) {
				t.Fatalf("got %v, want a BlockedError", err)
			}
			if !strings.Contains(blocked.Rule, test.rule) {
				t.Errorf("rule %q, want one about %q", blocked.Rule, test.rule)
			}
			if blocked.Address != address {
				t.Errorf("address %v, want %v", blocked.Address, address)
			}
			// The advice of the error works, with these very words.
			if err := mustGuard(t, blocked.Allowance()).Check(address); err != nil {
				t.Errorf("--allow-private %s does not open it: %v", blocked.Allowance(), err)
			}
		})
	}
}

// Whatever closes an IPv4 address closes every IPv6 form of it.
func TestFormsOfClosedAddresses(t *testing.T) {
	guard := mustGuard(t)
	for _, r := range ranges4() {
		for _, addr := range []netip.Addr{r.prefix.Addr(), last(r.prefix)} {
			four := addr.As4()
			for name, form := range map[string][16]byte{
				"v4-mapped":       {10: 0xff, 11: 0xff},
				"v4-compatible":   {},
				"NAT64":           {0: 0, 1: 0x64, 2: 0xff, 3: 0x9b},
				"NAT64 local":     {0: 0, 1: 0x64, 2: 0xff, 3: 0x9b, 5: 1},
				"ISATAP":          {0: 0x26, 10: 0x5e, 11: 0xfe},
				"ISATAP global":   {0: 0x26, 8: 2, 10: 0x5e, 11: 0xfe},
				"link-local":      {0: 0xfe, 1: 0x80, 10: 0x5e, 11: 0xfe},
				"translated SIIT": {8: 0xff, 9: 0xff},
			} {
				copy(form[12:], four[:])
				if guard.Check(netip.AddrPortFrom(netip.AddrFrom16(form), 443)) == nil {
					t.Errorf("%s is closed and its %s form %s is open", addr, name, netip.AddrFrom16(form))
				}
			}
			sixToFour := [16]byte{0: 0x20, 1: 0x02}
			copy(sixToFour[2:], four[:])
			if guard.Check(netip.AddrPortFrom(netip.AddrFrom16(sixToFour), 443)) == nil {
				t.Errorf("%s is closed and its 6to4 form is open", addr)
			}
		}
	}
}

// last returns the last address of an IPv4 prefix.
func last(prefix netip.Prefix) netip.Addr {
	four := prefix.Addr().As4()
	value := binary.BigEndian.Uint32(four[:]) | uint32(1<<(32-prefix.Bits())-1)
	binary.BigEndian.PutUint32(four[:], value)
	return netip.AddrFrom4(four)
}

func TestAllow(t *testing.T) {
	tests := []struct {
		entry string
		addr  string
		open  bool
	}{
		{"10.0.0.0/8", "10.1.2.3:443", true},
		{"10.0.0.0/8", "11.1.2.3:443", true}, // public anyway
		{"10.0.0.0/8", "192.168.0.1:443", false},
		{"10.0.0.0/8:443", "10.1.2.3:443", true},
		{"10.0.0.0/8:443", "10.1.2.3:80", false},
		{"127.0.0.1", "127.0.0.1:9", true},
		{"127.0.0.1", "127.0.0.2:9", false},
		{"127.0.0.1:9000", "127.0.0.1:9000", true},
		{"127.0.0.1:9000", "127.0.0.1:9001", false},
		{"127.0.0.1:9000", "[::ffff:127.0.0.1]:9000", true},
		{"10.0.0.0/8", "[64:ff9b::10.0.0.1]:1", true},
		{"::ffff:10.0.0.0/104", "10.0.0.1:1", true},
		{"::1", "[::1]:9", true},
		{"[::1]:9000", "[::1]:9000", true},
		{"[::1]:9000", "[::1]:9001", false},
		{"[fd00::/8]:443", "[fd00::1]:443", true},
		{"[fd00::/8]:443", "[fd00::1]:80", false},
		{"fd00::/8:443", "[fd00::1]:443", true},
		{"fd00::/8", "[fd00::1]:443", true},
		{"[fd00::/8]", "[fd00::1]:443", true},
		{"fe80::/10", "[fe80::1%eth0]:443", true},
		{"0.0.0.0/0", "10.0.0.1:443", true},
		{"0.0.0.0/0", "169.254.169.254:80", false}, // metadata only by its very address
		{"169.254.0.0/16", "169.254.169.254:80", false},
		{"169.254.169.254", "169.254.169.254:80", true},
		{"169.254.169.254/32:80", "[::ffff:169.254.169.254]:80", true},
		{"0.0.0.0/0", "[fd00::1]:443", false},
		{"::/0", "[fd00::1]:443", true},
		{"::/0", "10.0.0.1:443", false},
	}
	for _, test := range tests {
		t.Run(test.entry+" "+test.addr, func(t *testing.T) {
			err := mustGuard(t, test.entry).Check(netip.MustParseAddrPort(test.addr))
			if (err == nil) != test.open {
				t.Errorf("got %v, want open: %v", err, test.open)
			}
		})
	}
}

func TestAnOpenGuardClosesNothing(t *testing.T) {
	guard := NewOpenGuard()
	for _, addr := range []string{"127.0.0.1:1", "10.0.0.1:443", "[::1]:9", "169.254.169.254:80", "[fd00:ec2::254]:80", "8.8.8.8:443"} {
		if err := guard.Check(netip.MustParseAddrPort(addr)); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for rawURL, open := range map[string]bool{"http://localhost:9/": true, "http://10.0.0.1/": true, "ftp://a.example/": false, "https://": false} {
		if err := guard.CheckURL(rawURL); (err == nil) != open {
			t.Errorf("%s: %v", rawURL, err)
		}
	}
}

func TestAllowRefusesNonsense(t *testing.T) {
	for _, entry := range []string{
		"", "erp.example.com", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8:", "10.0.0.0/8:0", "10.0.0.0/8:65536", "10.0.0.0/8:https",
		"[fd00::/8", "fd00::/8]", "[fd00::/8]443", "[fd00::/8]:", "[]", "127.0.0.1:", ":80", "fe80::1%eth0", "::ffff:0:0/90", "10.0.0.0/8/8",
	} {
		if _, err := NewGuard([]string{entry}); err == nil {
			t.Errorf("the entry %q is accepted", entry)
		} else if !strings.Contains(err.Error(), "CIDR:PORT") {
			t.Errorf("the error for %q does not say what to write: %v", entry, err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	guard := mustGuard(t, "127.0.0.1:9000", "10.0.0.0/8:443")
	tests := []struct {
		url  string
		want string // part of the error; "" for fine
	}{
		{"https://erp.example.com/orders", ""},
		{"http://erp.example.com:8080/?a=b", ""},
		{"https://8.8.8.8/", ""},
		{"https://[2606:4700::1111]/", ""},
		{"http://127.0.0.1:9000/", ""},
		{"http://localhost:9000/", ""},
		{"https://10.0.0.3/", ""},
		{"https://10.0.0.3:444/", "--allow-private 10.0.0.3/32:444"},
		{"http://127.0.0.1:9001/", "loopback"},
		{"http://localhost/", "localhost is this machine"},
		{"http://LOCALHOST./", "this machine"},
		{"http://erp.localhost:80/", "this machine"},
		{"http://[::1]/", "loopback"},
		{"http://[::ffff:7f00:1]/", "loopback"},
		{"http://[fe80::1%25eth0]/", "link-local"},
		{"http://169.254.169.254/latest/meta-data", "metadata"},
		{"ftp://example.com/", "scheme"},
		{"file:///etc/passwd", "scheme"},
		{"example.com/hook", "scheme"},
		{"https:///path", "no host"},
		{"https:example.com", "no host"},
		{"https://user:hunter2@example.com/", "auth.basic"},
		{"https://example.com:0/", "ports go"},
		{"https://example.com:65536/", "ports go"},
		{"https://example.com:/", "no port"},
		{"https://exa mple.com/", "not a URL"},
		{"https://example.com:abc/", "not a URL"},
		{"", "scheme"},
	}
	for _, test := range tests {
		t.Run(test.url, func(t *testing.T) {
			err := guard.CheckURL(test.url)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && err == nil:
				t.Error("accepted")
			case test.want != "" && !strings.Contains(err.Error(), test.want):
				t.Errorf("the error does not speak of %q: %v", test.want, err)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

// A name that resolves to a public address when it is checked and to a closed one when
// it is dialled is caught at the dial.
func TestRebinding(t *testing.T) {
	guard := mustGuard(t)
	var lookups atomic.Int32
	guard.dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go serveDNS(server, func() netip.Addr {
			lookups.Add(1)
			return netip.MustParseAddr("127.0.0.1")
		})
		return client, nil
	}}
	if err := guard.CheckURL("http://rebind.example.com/"); err != nil {
		t.Fatalf("a name is refused before it is dialled: %v", err)
	}
	client := NewClient(guard, ClientOptions{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://rebind.example.com/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err == nil {
		_ = res.Body.Close()
		t.Fatal("a name that leads to this machine was dialled")
	}
	var blocked *BlockedError
	if !errors.As(err, &blocked) || blocked.Address.Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Fatalf("got %v, want a BlockedError of 127.0.0.1", err)
	}
	if lookups.Load() == 0 {
		t.Error("the test's resolver was not asked")
	}
}

// serveDNS answers the questions on one connection with an A record.
func serveDNS(conn net.Conn, answer func() netip.Addr) {
	defer func() { _ = conn.Close() }()
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		end := 12
		for query[end] != 0 {
			end += int(query[end]) + 1
		}
		end += 5
		isA := binary.BigEndian.Uint16(query[end-4:]) == 1
		reply := append([]byte{}, query[:end]...)
		reply[2], reply[3] = 0x81, 0x80
		copy(reply[4:12], []byte{0, 1, 0, 0, 0, 0, 0, 0})
		if isA {
			reply[7] = 1
			four := answer().As4()
			reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
			reply = append(reply, four[:]...)
		}
		binary.BigEndian.PutUint16(length[:], uint16(len(reply)))
		if _, err := conn.Write(append(length[:], reply...)); err != nil {
			return
		}
	}
}

func TestDialRefusesOtherNetworks(t *testing.T) {
	conn, err := mustGuard(t, "0.0.0.0/0").DialContext(t.Context(), "udp", "8.8.8.8:53")
	if err == nil {
		_ = conn.Close()
		t.Fatal("UDP was dialled")
	}
}

func TestClient(t *testing.T) {
	var seen http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/header":
			w.Header().Set("X-Large", strings.Repeat("x", MaxResponseHeader))
		}
	}))
	defer server.Close()
	client := NewClient(mustGuard(t, server.Listener.Addr().String()), ClientOptions{})
	defer client.CloseIdleConnections()
	get := func(path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		return res, err
	}
	res, err := get("/redirect")
	if err != nil || res.StatusCode != http.StatusFound {
		t.Errorf("a redirect gave %v, %v; want it unfollowed", res, err)
	}
	if seen.Get("Accept-Encoding") != "" {
		t.Error("the client asks for compression")
	}
	if _, err := get("/header"); err == nil {
		t.Error("a header beyond the cap is accepted")
	}
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1/")
	if _, err := get("/"); err != nil {
		t.Errorf("the environment's proxy is used: %v", err)
	}
}

func FuzzAllow(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "127.0.0.1:9000", "[fd00::/8]:443", "::1", "fd00::/8:443", "[", "]:1", "::ffff:1.2.3.4/128", "1.2.3.4/32:65535"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		parsed, err := parseAllowance(entry)
		if err != nil {
			return
		}
		addr := parsed.prefix.Addr()
		// What was read writes as an entry that reads the same.
		written := parsed.prefix.String()
		if addr.Is6() {
			written = "[" + written + "]"
		}
		if parsed.port != 0 {
			written += fmt.Sprintf(":%d", parsed.port)
		}
		again, err := parseAllowance(written)
		if err != nil || again != parsed {
			t.Fatalf("%q reads as %v, which writes as %q and reads as %v, %v", entry, parsed, written, again, err)
		}
		if addr.Is4In6() || addr.Zone() != "" {
			t.Fatalf("%q gives the address %v, which is not canonical", entry, addr)
		}
	})
}

func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{"https://example.com/", "http://[::1]:80/", "http://127.1/", "https://a:b@c/", "http://localhost:1/", "//x", "http://[fe80::1%25a]/"} {
		f.Add(seed)
	}
	guard := mustGuard(f)
	f.Fuzz(func(t *testing.T, text string) {
		if err := guard.CheckURL(text); err != nil && err.Error() == "" {
			t.Fatal("an error without words")
		}
	})
}

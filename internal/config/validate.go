package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/hook"
)

// Limits of settings.
const (
	minSweep    = hook.Duration(time.Second)
	maxGrace    = hook.Duration(10 * time.Minute)
	minBody     = Size(1 << 10)
	maxBody     = Size(1 << 30)
	highestPort = 65535
)

// Validate reports everything that is wrong with the settings, joined; the Path of
// each problem is the setting's key.
func (s *Settings) Validate() error {
	v := &validator{}
	v.checkf("data", s.Data != "", "a folder is needed")
	v.database(s.Database)
	v.address("listen", s.Listen)
	v.link("public-url", s.PublicURL)
	v.link("server", s.Server)
	v.checkf("server", s.Server != "", "the server's address is needed")
	for _, proxy := range s.TrustedProxies {
		v.network("trusted-proxies", proxy)
	}
	for _, entry := range s.AllowPrivate {
		v.opening(entry)
	}
	v.checkf("tls-cert", s.TLSCert != "" || s.TLSKey == "", "a certificate belongs to tls-key: set both, or neither")
	v.checkf("tls-key", s.TLSKey != "" || s.TLSCert == "", "a key belongs to tls-cert: set both, or neither")
	v.checkf("client-ca", s.ClientCA == "" || s.TLSCert != "", "client certificates need HTTPS: set tls-cert and tls-key as well")
	v.checkf("max-body", s.MaxBody >= minBody && s.MaxBody <= maxBody, "%s is out of range: it goes from %s to %s", s.MaxBody, minBody, maxBody)
	v.checkf("retention-sweep", s.RetentionSweep >= minSweep, "%s is too short: the least is %s", s.RetentionSweep, minSweep)
	v.checkf("shutdown-grace", s.ShutdownGrace <= maxGrace, "%s is too long: the most is %s", s.ShutdownGrace, maxGrace)
	v.oneOf("log-level", s.LogLevel, "debug", "info", "warn", "error")
	v.oneOf("log-format", s.LogFormat, "text", "json")
	v.profiling(s.Profiling)
	return hook.Invalid("these settings cannot be used", v.problems)
}

type validator struct{ problems []hook.Problem }

func (v *validator) checkf(key string, ok bool, format string, args ...any) {
	if !ok {
		v.problems = append(v.problems, hook.Problem{Path: key, Message: fmt.Sprintf(format, args...)})
	}
}

func (v *validator) database(text string) {
	switch scheme, _, _ := strings.Cut(text, ":"); scheme {
	case "sqlite":
		v.checkf("database", text == "sqlite", "the SQLite database lies in the data folder: write sqlite, and set data to move it")
	case "postgres", "postgresql":
		v.checkf("database", false, "PostgreSQL is not available in this version: leave it out to use the embedded SQLite database")
	default:
		v.checkf("database", false, "%q is not a database that is known: write sqlite", scheme)
	}
}

func (v *validator) oneOf(key, value string, words ...string) {
	v.checkf(key, slices.Contains(words, value), "%q is not one of %s", value, strings.Join(words, ", "))
}

func (v *validator) address(key, text string) {
	_, port, err := net.SplitHostPort(text)
	number, portErr := strconv.Atoi(port)
	v.checkf(key, err == nil && portErr == nil && number >= 0 && number <= highestPort,
		"%q is not an address to listen on: write HOST:PORT, such as 127.0.0.1:8420 or :8420", text)
}

func (v *validator) link(key, text string) {
	if text == "" {
		return
	}
	link, err := url.Parse(text)
	v.checkf(key, err == nil && (link.Scheme == "http" || link.Scheme == "https") && link.Host != "" && link.RawQuery == "" && link.Fragment == "",
		"%q is not the address of a server: write http:// or https://, the host, and a path if there is one", text)
}

func (v *validator) network(key, text string) {
	_, err := egress.ParsePrefix(text)
	v.checkf(key, err == nil, "%q is not a range of addresses: write a CIDR such as 10.0.0.0/8, or one address", text)
}

// opening checks one range of allow-private.
func (v *validator) opening(text string) {
	_, err := egress.NewGuard([]string{text})
	v.checkf("allow-private", err == nil, "%v", err)
}

func (v *validator) profiling(text string) {
	if text == "" {
		return
	}
	v.address("profiling", text)
	host, _, err := net.SplitHostPort(text)
	if err != nil {
		return
	}
	address, err := netip.ParseAddr(host)
	v.checkf("profiling", host == "localhost" || (err == nil && address.IsLoopback()),
		"%q is not a loopback address: profiles show what is in memory, so write 127.0.0.1:PORT", text)
}

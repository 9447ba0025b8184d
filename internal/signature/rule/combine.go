package rule

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// noCheck lets everything pass, and says so in the verdict.
type noCheck struct{}

func (noCheck) verify(context.Context, *message.Request) (hook.Verdict, error) {
	return hook.Verdict{Scheme: "none"}, nil
}

// anyCheck passes when one of its checks does; of several refusals it returns the one
// of the check that came furthest.
type anyCheck []checker

func (a anyCheck) verify(ctx context.Context, req *message.Request) (hook.Verdict, error) {
	var best *Refusal
	for _, one := range a {
		verdict, err := one.verify(ctx, req)
		if err == nil {
			return verdict, nil
		}
		var refusal *Refusal
		if !errors.As(err, &refusal) {
			return hook.Verdict{}, err
		}
		if best == nil || refusal.rank() > best.rank() {
			best = refusal
		}
	}
	return hook.Verdict{}, best
}

// allCheck passes when each of its checks does. The verdict names all schemes.
type allCheck []checker

func (a allCheck) verify(ctx context.Context, req *message.Request) (hook.Verdict, error) {
	out := hook.Verdict{}
	schemes := make([]string, 0, len(a))
	for _, one := range a {
		verdict, err := one.verify(ctx, req)
		if err != nil {
			return hook.Verdict{}, err
		}
		schemes = append(schemes, verdict.Scheme)
		out.Verified = out.Verified || verdict.Verified
		if out.Secret == 0 {
			out.Secret = verdict.Secret
		}
	}
	out.Scheme = strings.Join(schemes, "+")
	return out, nil
}

// addresses is a list of networks.
type addresses []netip.Prefix

func (c *compiler) addresses(texts []string, p *problems) addresses {
	var out addresses
	for _, text := range texts {
		for one := range strings.FieldsFuncSeq(c.expand(text, "", p), isListSeparator) {
			prefix, err := parsePrefix(one)
			if err != nil {
				p.addf("", "%q is not an address or network: write 203.0.113.7 or 203.0.113.0/24", one)
				continue
			}
			out = append(out, prefix)
		}
	}
	return out
}

func isListSeparator(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' || r == '\r' }

func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		address = address.Unmap().WithZone("")
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	return prefix.Masked(), err
}

func (a addresses) contains(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	return slices.ContainsFunc(a, func(prefix netip.Prefix) bool { return prefix.Contains(address) })
}

func (a addresses) check(req *message.Request) error {
	if a.contains(req.Remote) {
		return nil
	}
	return refusef(NotAllowedAddress, "The sender's address %s is not among those that are allowed.", req.Remote)
}

// addressCheck trusts an address alone.
type addressCheck struct{ addresses }

func (a addressCheck) verify(_ context.Context, req *message.Request) (hook.Verdict, error) {
	if err := a.check(req); err != nil {
		return hook.Verdict{}, err
	}
	return hook.Verdict{Scheme: "ips", Verified: true}, nil
}

// guarded is a scheme beside a list of addresses.
type guarded struct {
	addresses addresses
	next      checker
}

func (g guarded) verify(ctx context.Context, req *message.Request) (hook.Verdict, error) {
	if err := g.addresses.check(req); err != nil {
		return hook.Verdict{}, err
	}
	return g.next.verify(ctx, req)
}

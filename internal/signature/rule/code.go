package rule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Codes returns the names of the verifiers that data cannot express.
func Codes() []string { return []string{"adobe-io", "adyen", "mailgun", "paypal", "sns", "twilio"} }

func (c *compiler) code(name string, p *problems) node {
	switch name {
	case "adobe-io":
		return c.adobeIO(p)
	case "adyen":
		return c.adyen(p)
	case "mailgun":
		return c.mailgun(p)
	case "paypal":
		return c.paypal(p)
	case "sns":
		return c.sns(p)
	case "twilio":
		return c.twilio(p)
	default:
		p.addf("", "%q is not a verifier: write one of %s", name, strings.Join(Codes(), ", "))
		return node{}
	}
}

// setting returns a setting that a verifier cannot do without.
func (c *compiler) setting(name string, p *problems) string {
	if c.Settings[name] == "" {
		p.addAtf("settings."+name, "the verifier needs this setting")
	}
	return c.Settings[name]
}

// fetcher returns the fetcher of keys, and complains when there is none.
func (c *compiler) fetcher(p *problems) KeyFetcher {
	if c.Keys == nil {
		p.addf("", "keys cannot be fetched here")
	}
	return c.Keys
}

// fetchAllowed gets a key from an https address whose host matches one of the
// patterns. The address comes from the request, so the hosts are the protection.
func fetchAllowed(ctx context.Context, fetcher KeyFetcher, address string, hosts ...string) ([]byte, *Refusal) {
	if !AllowedURL(address, hosts) {
		return nil, refusef(BadSignature, "The address of the sender's key is not one of the provider's: only https and %s are taken.", strings.Join(hosts, ", "))
	}
	raw, err := fetcher.Fetch(ctx, address)
	if err != nil {
		return nil, &Refusal{Reason: KeysUnavailable, Message: "The sender's key cannot be had right now.", Err: err}
	}
	return raw, nil
}

// AllowedURL says whether an address is https on its usual port, without user and
// fragment, and on one of the hosts.
func AllowedURL(address string, hosts []string) bool {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Scheme != "https" || parsed.User != nil || parsed.Fragment != "" || parsed.Opaque != "" {
		return false
	}
	if port := parsed.Port(); port != "" && port != "443" {
		return false
	}
	for _, pattern := range hosts {
		if MatchHost(pattern, parsed.Hostname()) {
			return true
		}
	}
	return false
}

var errNotObject = errors.New("it is not a JSON object")

// uniqueObject decodes the top level of a JSON object and refuses a name that stands
// in it twice: where fields of the body are signed, the one that was verified must be
// the one that is read later.
func uniqueObject(body []byte) (map[string]json.RawMessage, error) {
	if !json.Valid(body) {
		return nil, errNotObject
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return nil, errNotObject
	}
	out := map[string]json.RawMessage{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		folded := strings.ToLower(name) // some readers do not look at the case
		if _, twice := out[folded]; twice {
			return nil, fmt.Errorf("the name %q stands twice", name)
		}
		out[folded] = value
	}
	return out, nil
}

// text returns the JSON text of a value.
func jsonText(value json.RawMessage) (string, bool) {
	var text string
	if len(value) == 0 || json.Unmarshal(value, &text) != nil {
		return "", false
	}
	return text, true
}

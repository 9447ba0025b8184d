package rule

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// adyenCheck verifies Adyen's two signatures ("Verify HMAC signatures"): of the whole
// body in the header HmacSignature, or of some fields of each payment item inside it.
type adyenCheck struct {
	whole checker
	keys  []adyenKey
}

type adyenKey struct {
	raw    []byte
	secret int
}

func (c *compiler) adyen(p *problems) node {
	whole := c.hmac(&hook.HMACRule{
		SignatureRule: hook.SignatureRule{Header: "HmacSignature", Encoding: []string{string(Base64)}},
		Key:           KeyHex,
	}, p)
	check := &adyenCheck{whole: whole.check}
	for i, secret := range c.Secrets {
		if raw, err := deriveKey(KeyHex, secret.Value.Reveal()); err == nil { // the rule above complains otherwise
			check.keys = append(check.keys, adyenKey{raw, i + 1})
		}
	}
	return node{check: check, headers: []string{"HmacSignature"}}
}

func (a *adyenCheck) verify(ctx context.Context, req *message.Request) (hook.Verdict, error) {
	if req.Headers.Get("HmacSignature") != "" {
		verdict, err := a.whole.verify(ctx, req)
		verdict.Scheme = "adyen"
		return verdict, err
	}
	items, err := adyenItems(req.Body)
	if err != nil {
		return hook.Verdict{}, &Refusal{
			Reason:  MissingSignature,
			Message: "There is no header HmacSignature, and the body is not a list of payment items: " + err.Error() + ".", Err: err,
		}
	}
	for i, key := range a.keys {
		fits := true
		for _, item := range items {
			mac := hmac.New(sha256.New, key.raw)
			mac.Write([]byte(item.content))
			fits = fits && hmac.Equal(mac.Sum(nil), item.signature)
		}
		if fits {
			return hook.Verdict{Scheme: "adyen", Verified: true, Secret: a.keys[i].secret}, nil
		}
	}
	return hook.Verdict{}, refusef(BadSignature, "The signature of at least one payment item does not fit with any of the secrets.")
}

type adyenItem struct {
	content   string
	signature []byte
}

var (
	errNoItems         = errors.New("notificationItems is empty")
	errNoItemSignature = errors.New("an item has no additionalData.hmacSignature")
)

// adyenItems reads the signed fields of every item. At least one item is returned.
func adyenItems(body []byte) ([]adyenItem, error) {
	top, err := uniqueObject(body)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if json.Unmarshal(top["notificationitems"], &list) != nil || len(list) == 0 {
		return nil, errNoItems
	}
	items := make([]adyenItem, len(list))
	for i, raw := range list {
		if items[i], err = readAdyenItem(raw); err != nil {
			return nil, err
		}
	}
	return items, nil
}

func readAdyenItem(raw json.RawMessage) (adyenItem, error) {
	outer, err := uniqueObject(raw)
	if err != nil {
		return adyenItem{}, err
	}
	fields, err := uniqueObject(outer["notificationrequestitem"])
	if err != nil {
		return adyenItem{}, err
	}
	amount, err := uniqueObject(fields["amount"])
	if err != nil {
		return adyenItem{}, err
	}
	more, err := uniqueObject(fields["additionaldata"])
	if err != nil {
		return adyenItem{}, errNoItemSignature
	}
	text, ok := jsonText(more["hmacsignature"])
	signature, readable := Base64.decode(nil, text)
	if !ok || !readable {
		return adyenItem{}, errNoItemSignature
	}
	content := strings.Join([]string{
		bare(fields["pspreference"]), bare(fields["originalreference"]), bare(fields["merchantaccountcode"]),
		bare(fields["merchantreference"]), bare(amount["value"]), bare(amount["currency"]),
		bare(fields["eventcode"]), bare(fields["success"]),
	}, ":")
	return adyenItem{content: content, signature: signature}, nil
}

// bare returns a text without its quotes and anything else as it is written.
func bare(value json.RawMessage) string {
	if text, ok := jsonText(value); ok {
		return text
	}
	return string(value)
}

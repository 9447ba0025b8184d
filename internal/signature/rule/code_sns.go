package rule

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule/message"
)

// snsCheck verifies Amazon SNS messages: RSA over some fields of the body, with a
// certificate that AWS hosts ("Verifying the signatures of Amazon SNS messages"). The
// signature proves that SNS sent it, for anybody's topic; so the topic is compared too.
type snsCheck struct {
	topics []string
	keys   KeyFetcher
}

func (c *compiler) sns(p *problems) node {
	topics := strings.FieldsFunc(c.setting("topicArn", p), isListSeparator)
	// Not every field is signed: the address to unsubscribe is not, for one.
	return node{check: &snsCheck{topics: topics, keys: c.fetcher(p)}, headers: []string{"x-amz-sns-message-type"}}
}

// snsHosts are where AWS keeps its signing certificates and confirms subscriptions.
func snsHosts() []string { return []string{"sns.*.amazonaws.com", "sns.*.amazonaws.com.cn"} }

// snsFields returns the names of the signed fields, in their order.
func snsFields(kind string) []string {
	switch kind {
	case "Notification":
		return []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	case "SubscriptionConfirmation", "UnsubscribeConfirmation":
		return []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	default:
		return nil
	}
}

func (s *snsCheck) verify(ctx context.Context, req *message.Request) (hook.Verdict, error) {
	object, err := uniqueObject(req.Body)
	if err != nil {
		return hook.Verdict{}, &Refusal{Reason: MalformedSig, Message: "The body is not an SNS message: " + err.Error() + ".", Err: err}
	}
	message := snsMessage(object)
	signature, ok := Base64.decode(nil, message.get("Signature"))
	if message.get("Signature") == "" {
		return hook.Verdict{}, refusef(MissingSignature, "The body has no field Signature: switch raw message delivery off.")
	}
	algorithm := map[string]string{"1": RSASHA1, "2": RSASHA256}[message.get("SignatureVersion")]
	names := snsFields(message.get("Type"))
	if !ok || algorithm == "" || names == nil {
		return hook.Verdict{}, refusef(MalformedSig, "The fields Signature, SignatureVersion and Type are not those of an SNS message.")
	}
	if !slices.Contains(s.topics, message.get("TopicArn")) {
		return hook.Verdict{}, refusef(BadClaim, "The message is from another topic than the source's setting topicArn.")
	}
	key, refusal := s.key(ctx, req, message.get("SigningCertURL"))
	if refusal != nil {
		return hook.Verdict{}, refusal
	}
	if !verifySignature(key, algorithm, message.content(names), signature) {
		return hook.Verdict{}, refusef(BadSignature, "The signature does not fit the message.")
	}
	return hook.Verdict{Scheme: "sns", Verified: true}, nil
}

type snsMessage map[string]json.RawMessage

func (m snsMessage) get(name string) string {
	text, _ := jsonText(m[strings.ToLower(name)]) // absent and empty are the same
	return text
}

func (m snsMessage) content(names []string) []byte {
	var out []byte
	for _, name := range names {
		if text, ok := jsonText(m[strings.ToLower(name)]); ok {
			out = append(append(append(append(out, name...), '\n'), text...), '\n')
		}
	}
	return out
}

// isSNSCertificate says whether an address is one where SNS itself keeps certificates.
// Hosts of other services fit the pattern of SNS: sns.s3-us-west-2.amazonaws.com is
// the bucket named sns, whose owner could put a certificate there; no region has digits
// before its end. An answer that SNS gives to a query is not a file of its own either.
func isSNSCertificate(address string) bool {
	parsed, err := url.Parse(address)
	if err != nil || parsed.RawQuery != "" || parsed.ForceQuery {
		return false
	}
	labels := strings.Split(strings.ToLower(parsed.Hostname()), ".")
	name, isPEM := strings.CutSuffix(parsed.EscapedPath(), ".pem")
	id, own := strings.CutPrefix(name, "/SimpleNotificationService-")
	return len(labels) > 1 && isRegion(labels[1]) && isPEM && own && id != "" && !strings.ContainsAny(id, "/%")
}

// isRegion says whether a label has the form of an AWS region: "us-east-1", "us-gov-west-1".
func isRegion(label string) bool {
	words := strings.Split(label, "-")
	last := len(words) - 1
	if last < 2 {
		return false
	}
	for i, word := range words {
		first, until := byte('a'), byte('z')
		if i == last {
			first, until = '0', '9'
		}
		if word == "" || strings.ContainsFunc(word, func(r rune) bool { return r < rune(first) || r > rune(until) }) {
			return false
		}
	}
	return true
}

func (s *snsCheck) key(ctx context.Context, req *message.Request, address string) (*rsa.PublicKey, *Refusal) {
	if !isSNSCertificate(address) {
		return nil, refusef(BadCertificate, "SigningCertURL is not the address of a certificate of SNS.")
	}
	raw, refusal := fetchAllowed(ctx, s.keys, address, snsHosts()...)
	if refusal != nil {
		return nil, refusal
	}
	chain := parsePEMChain(raw)
	if len(chain) == 0 {
		return nil, refusef(BadCertificate, "The certificate of SNS cannot be read.")
	}
	if req.Now.Before(chain[0].NotBefore) || req.Now.After(chain[0].NotAfter) {
		return nil, refusef(BadCertificate, "The certificate of SNS is not valid at this time.")
	}
	key, ok := chain[0].PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, refusef(BadCertificate, "The certificate's key is not an RSA key.")
	}
	return key, nil
}

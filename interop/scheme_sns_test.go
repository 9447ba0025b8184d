package interop_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	sns "github.com/robbiet480/go.sns"
)

const snsCertURL = "https://sns.sa-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"

// snsKey is the key that plays Amazon's.
var snsKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// snsPEM returns the certificate of snsKey.
var snsPEM = sync.OnceValue(func() string {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &snsKey().PublicKey, snsKey())
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
})

// snsSchemes are the two versions of Amazon SNS. The signature is in the body.
func snsSchemes(t *testing.T) []scheme {
	t.Helper()
	npmSNS := npm(t, "sns")
	if npmSNS != nil {
		text, err := json.Marshal(map[string]string{"url": snsCertURL, "certificate": snsPEM()})
		if err != nil {
			t.Fatal(err)
		}
		verify := npmSNS
		npmSNS = func(_ string, r *request) error { return verify(string(text), r) }
	}
	build := func(version string) scheme {
		return scheme{
			provider: "aws-sns", settings: map[string]string{"topicArn": "arn:aws:sns:sa-east-1:123456789012:pedidos"}, keys: keys{snsCertURL: snsPEM()}, foreign: "unused",
			sign: func(r *request, now time.Time) {
				message := map[string]string{
					"Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "Subject": "Pedido 1042",
					"TopicArn": "arn:aws:sns:sa-east-1:123456789012:pedidos", "Message": "Pago\nem dinheiro: R$ 254,98",
					"Timestamp": now.UTC().Format("2006-01-02T15:04:05.000Z"), "SignatureVersion": version, "SigningCertURL": snsCertURL,
				}
				var content strings.Builder
				for _, name := range []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"} {
					content.WriteString(name + "\n" + message[name] + "\n")
				}
				message["Signature"] = signRSA(t, version, content.String())
				body, err := json.Marshal(message)
				if err != nil {
					t.Fatal(err)
				}
				r.body = body
				r.header.Set("Content-Type", "text/plain; charset=UTF-8")
				r.header.Set("X-Amz-Sns-Message-Type", "Notification")
			},
			libraries: map[string]library{
				"go sns": func(_ string, r *request) error {
					var payload sns.Payload
					if err := json.Unmarshal(r.body, &payload); err != nil {
						return err
					}
					return payload.VerifyPayload()
				},
				"npm sns": npmSNS,
			},
		}
	}
	return []scheme{build("1"), build("2")}
}

// signRSA returns the signature of content by snsKey in base64.
func signRSA(t *testing.T, version, content string) string {
	t.Helper()
	algorithm, digest := crypto.SHA256, sha256.New()
	if version == "1" {
		algorithm, digest = crypto.SHA1, sha1.New()
	}
	digest.Write([]byte(content))
	signature, err := rsa.SignPKCS1v15(rand.Reader, snsKey(), algorithm, digest.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(signature)
}

package interop_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"
)

const googleKeys = "https://www.googleapis.com/oauth2/v3/certs"

// googleScheme is the token that Google Pub/Sub pushes with; snsKey plays Google's key.
func googleScheme(t *testing.T) scheme {
	t.Helper()
	public := &snsKey().PublicKey
	set, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "key-1", "n": segment(public.N.Bytes()),
		"e": segment(big.NewInt(int64(public.E)).Bytes()),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := json.Marshal(map[string]string{"key-1": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))})
	if err != nil {
		t.Fatal(err)
	}
	return scheme{
		provider: "google-pubsub", keys: keys{googleKeys: string(set)}, foreign: string(certificates), bodyFree: true,
		settings: map[string]string{"audience": address, "email": "push@loja.iam.gserviceaccount.com"}, header: "Authorization",
		sign: func(r *request, now time.Time) {
			claims, err := json.Marshal(map[string]any{
				"iss": "https://accounts.google.com", "aud": address, "sub": "1042", "email": "push@loja.iam.gserviceaccount.com",
				"email_verified": true, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
			})
			if err != nil {
				t.Fatal(err)
			}
			signed := segment([]byte(`{"alg":"RS256","kid":"key-1","typ":"JWT"}`)) + "." + segment(claims)
			signature, err := base64.StdEncoding.DecodeString(signRSA(t, "2", signed))
			if err != nil {
				t.Fatal(err)
			}
			r.header.Set("Authorization", "Bearer "+signed+"."+segment(signature))
		},
		libraries: map[string]library{"npm google": npmGoogle(t)},
	}
}

func segment(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// npmGoogle is google-auth-library, which also wants to know the audience.
func npmGoogle(t *testing.T) library {
	t.Helper()
	if npm(t, "google") == nil {
		return nil
	}
	n := needNode(t)
	return func(certificates string, r *request) error {
		q := npmQuestion("google", certificates, r)
		q.Audience = address
		if answer := n.ask(q); !answer.OK {
			return errors.New(answer.Error)
		}
		return nil
	}
}

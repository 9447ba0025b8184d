package rule

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLists(t *testing.T) {
	tests := map[string]struct {
		grammar listGrammar
		text    string
		values  []string
		time    string
	}{
		"Stripe":        {listGrammar{",", "=", "v1", "t"}, "t=1,v1=a,v0=b,v1=c", []string{"a", "c"}, "1"},
		"Paddle":        {listGrammar{";", "=", "h1", "ts"}, "ts=1;h1=a", []string{"a"}, "1"},
		"space":         {listGrammar{",", "=", "v1", "t"}, " t = 1 , v1 = a ", []string{"a"}, "1"},
		"padding":       {listGrammar{",", "=", "v1", "t"}, "v1=YQ==,t=1", []string{"YQ=="}, "1"},
		"first time":    {listGrammar{",", "=", "v1", "t"}, "t=1,t=2,v1=a", []string{"a"}, "1"},
		"no pairs":      {listGrammar{",", "=", "v1", "t"}, "a,b,,", nil, ""},
		"without time":  {listGrammar{" ", ",", "v1", ""}, "v1,a v1a,b", []string{"a"}, ""},
		"many of them":  {listGrammar{",", "=", "v1", "t"}, strings.Repeat("v1=a,", 50), strings.Split(strings.Repeat("a", maxValues), ""), ""},
		"empty pairs":   {listGrammar{",", "=", "v1", "t"}, "=,v1=,t=", []string{""}, ""},
		"unnamed times": {listGrammar{",", "=", "v1", ""}, "=5,v1=a", []string{"a"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got found
			test.grammar.read(test.text, &got)
			if diff := cmp.Diff(test.values, append([]string(nil), got.all()...)); diff != "" {
				t.Error(diff)
			}
			if got.timestamp != test.time {
				t.Errorf("time %q", got.timestamp)
			}
		})
	}
}

func FuzzHeaderList(f *testing.F) {
	grammars := []listGrammar{{",", "=", "v1", "t"}, {" ", ",", "v1", ""}, {";", "=", "h1", "ts"}}
	f.Add("t=1,v1=a,v1=b", uint8(0))
	f.Add("v1,a v1,b", uint8(1))
	f.Fuzz(func(t *testing.T, text string, index uint8) {
		var got found
		grammars[int(index)%len(grammars)].read(text, &got)
		for _, value := range append(got.all(), got.timestamp) {
			if !strings.Contains(text, value) {
				t.Errorf("%q is not in the text", value)
			}
		}
	})
}

func TestEncodings(t *testing.T) {
	for _, test := range []struct {
		encoding Encoding
		text     string
		want     string
		ok       bool
	}{
		{Hex, "6162", "ab", true},
		{Hex, "6A", "j", true},
		{Hex, "6", "", false},
		{Hex, "zz", "", false},
		{Hex, "", "", false},
		{Base64, "YQ==", "a", true},
		{Base64, "YQ=", "a", true},
		{Base64, "YQ", "a", true},
		{Base64, "YQ===", "", false},
		{Base64, "-_", "", false},
		{Base64URL, "-_8", "\xfb\xff", true},
		{Base64URL, "+/8", "", false},
	} {
		got, ok := test.encoding.decode(nil, test.text)
		if ok != test.ok || ok && string(got) != test.want {
			t.Errorf("%s %q: %q, %v", test.encoding, test.text, got, ok)
		}
	}
}

func TestAllowedURL(t *testing.T) {
	hosts := []string{"sns.*.amazonaws.com", "api.example.com"}
	for address, want := range map[string]bool{
		"https://sns.sa-east-1.amazonaws.com/x?y=z": true,
		"https://SNS.eu-west-1.amazonaws.com/":      true,
		"https://api.example.com:443/":              true,
		"http://api.example.com/":                   false,
		"https://api.example.com:444/":              false,
		"https://api.example.com.evil.example/":     false,
		"https://evil.example/api.example.com":      false,
		"https://user@api.example.com/":             false,
		"https://sns.a.b.amazonaws.com/":            false,
		"https://sns..amazonaws.com/":               false,
		"https://api.example.com/#x":                false,
		"//api.example.com/":                        false,
		"https:api.example.com":                     false,
		"https://api.example.com@evil.example/":     false,
		"https://[::1]/":                            false,
		"":                                          false,
	} {
		if got := AllowedURL(address, hosts); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

func FuzzCertificateHeader(f *testing.F) {
	f.Add("-----BEGIN CERTIFICATE----- MIIB -----END CERTIFICATE-----")
	f.Add(`By=x;Cert="-----BEGIN%20CERTIFICATE-----%0AMIIB%0A-----END%20CERTIFICATE-----"`)
	f.Add(":MIIB:,MIIC")
	f.Fuzz(func(t *testing.T, text string) {
		if len(parseCertificateHeader(text)) > maxChain {
			t.Error("the chain is longer than it may be")
		}
	})
}

func FuzzPublicKey(f *testing.F) {
	f.Add("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")
	f.Add("-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----")
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := parsePublicKey(text); err == nil {
			if _, ok := algorithmFor(key, ""); !ok {
				t.Errorf("a key that nothing verifies with: %T", key)
			}
		}
	})
}

func FuzzUniqueObject(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"c":[2]}}`))
	f.Add([]byte(`{"a":1,"A":2}`))
	f.Fuzz(func(_ *testing.T, body []byte) {
		if object, err := uniqueObject(body); err == nil {
			for _, value := range object {
				bare(value)
			}
		}
		_, _ = adyenItems(body) // it must not crash
	})
}

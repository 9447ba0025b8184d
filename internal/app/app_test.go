package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"malote.dev/malote/internal/app"
	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/hook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server until the test ends and returns its address.
func start(t *testing.T, change func(*config.Settings)) string {
	t.Helper()
	settings := config.Default()
	settings.Data, settings.Listen = t.TempDir(), "127.0.0.1:0"
	change(&settings)
	reader, writer := io.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := app.Run(ctx, settings, app.Options{Out: writer, Log: io.Discard, Version: "test"})
		_ = writer.CloseWithError(io.EOF)
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	lines := bufio.NewScanner(reader)
	for lines.Scan() {
		if base, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			go func() { _, _ = io.Copy(io.Discard, reader) }()
			return base
		}
	}
	t.Fatal("the server ended before it listened")
	return ""
}

// write puts a file into the test's folder.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// authority is a certificate authority of a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := &authority{key: newKey(t)}
	a.certificate, a.pem = a.issue(t, template, template, a.key)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) issue(t *testing.T, template, parent *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, string) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// leaf issues a certificate for both sides of a connection on loopback.
func (a *authority) leaf(t *testing.T, name string) (certPEM, keyPEM string) {
	t.Helper()
	key := newKey(t)
	_, certPEM = a.issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.certificate, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return certPEM, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// client calls the server, showing a certificate if one is given.
func client(t *testing.T, trusted *authority, cert, key string) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(trusted.certificate)
	config := &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}
	if cert != "" {
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func TestABankProvesItselfByItsCertificate(t *testing.T) {
	own, bank, stranger := newAuthority(t, "our CA"), newAuthority(t, "the bank's CA"), newAuthority(t, "another CA")
	serverCert, serverKey := own.leaf(t, "localhost")
	indented := strings.ReplaceAll(strings.TrimSpace(bank.pem), "\n", "\n        ")
	flows := write(t, "flow.yaml", "sources:\n  pix:\n    provider: pix\n    settings:\n      ca: |\n        "+indented+"\n")
	base := start(t, func(s *config.Settings) {
		s.Flows, s.TLSCert, s.TLSKey = flows, write(t, "cert.pem", serverCert), write(t, "key.pem", serverKey)
	})
	bankCert, bankKey := bank.leaf(t, "webhook.bank.example")
	strangerCert, strangerKey := stranger.leaf(t, "webhook.bank.example")
	for name, test := range map[string]struct {
		client *http.Client
		want   int
	}{
		"the bank":               {client(t, own, bankCert, bankKey), http.StatusOK},
		"another authority's":    {client(t, own, strangerCert, strangerKey), http.StatusUnauthorized},
		"nobody's (none at all)": {client(t, own, "", ""), http.StatusUnauthorized},
	} {
		body := `{"pix":[{"endToEndId":"E1","txid":"t1","valor":"10.00"}]}`
		response, err := test.client.Post(base+"/in/pix/pix", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = response.Body.Close()
		if response.StatusCode != test.want {
			t.Errorf("%s certificate is answered %d, want %d", name, response.StatusCode, test.want)
		}
	}
}

func TestAStartThatCannotWorkSaysWhy(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*config.Settings)
		want   string
	}{
		"an address in use or foreign": {func(s *config.Settings) { s.Listen = "192.0.2.1:1" }, "--listen"},
		"a private range that is none": {func(s *config.Settings) { s.AllowPrivate = []string{"10.0.0.0/99"} }, "10.0.0.0/99"},
		"a flow file that is missing":  {func(s *config.Settings) { s.Flows = "/nowhere/flow.yaml" }, "/nowhere/flow.yaml"},
		"a certificate without a key": {func(s *config.Settings) {
			s.TLSCert, s.TLSKey = "/nowhere/cert.pem", "/nowhere/key.pem"
		}, "tls-cert"},
		"a log level that is none": {func(s *config.Settings) { s.LogLevel = "loud" }, "loud"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := config.Default()
			settings.Data, settings.Listen = t.TempDir(), "127.0.0.1:0"
			test.change(&settings)
			var out bytes.Buffer
			err := app.Run(t.Context(), settings, app.Options{Out: &out, Log: io.Discard})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("it ended with %v, want an error that names %q", err, test.want)
			}
			if strings.Contains(out.String(), "listening") {
				t.Error("it said that it listens")
			}
		})
	}
}

// Who starts the server without yesterday's --allow-private reads at once what that closes.
func TestAStartNamesTheDestinationsThatItCloses(t *testing.T) {
	settings := config.Default()
	settings.Data, settings.Listen = t.TempDir(), "127.0.0.1:0"
	settings.Flows = filepath.Join(t.TempDir(), "flow.yaml")
	if err := os.WriteFile(settings.Flows, []byte("destinations: { erp: { http: { url: http://127.0.0.1:9/ } } }"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func() string {
		var log bytes.Buffer
		reader, writer := io.Pipe()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() {
			_, _ = bufio.NewReader(reader).ReadString('\n') // it speaks when it listens
			stop()
			_, _ = io.Copy(io.Discard, reader)
		}()
		err := app.Run(ctx, settings, app.Options{Out: writer, Log: &log, Environ: []string{"MALOTE_ALOW_PRIVATE=127.0.0.0/8"}})
		_ = writer.Close()
		if err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	settings.AllowPrivate = []string{"127.0.0.0/8"}
	if log := run(); strings.Contains(log, "cannot be used") || !strings.Contains(log, "msg=stopped") {
		t.Errorf("with an open range:\n%s", log)
	}
	settings.AllowPrivate, settings.Flows = nil, ""
	if log := run(); !strings.Contains(log, "variable=MALOTE_ALOW_PRIVATE nearest=MALOTE_ALLOW_PRIVATE") || !strings.Contains(log, "name=erp") || !strings.Contains(log, "--allow-private 127.0.0.1/32:9") {
		t.Errorf("with a closed range:\n%s", log)
	}
}

func TestOfflineRulesLeaveAddressesToTheServer(t *testing.T) {
	rules := app.OfflineRules()
	if problems := rules.CheckDestination(&hook.DestinationSpec{HTTP: &hook.HTTPTarget{URL: "http://10.0.0.1:9/"}}); len(problems) > 0 {
		t.Errorf("a private address: %+v", problems)
	}
	problems := rules.CheckDestination(&hook.DestinationSpec{HTTP: &hook.HTTPTarget{URL: "erp.example.com", Method: "PSOT"}})
	if len(problems) != 2 || problems[0].Path != "http.method" || problems[1].Path != "http.url" {
		t.Errorf("no address, no method: %+v", problems)
	}
}

func TestHealth(t *testing.T) {
	base := start(t, func(s *config.Settings) { s.Metrics = true })
	own := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ready", "/metrics": "malote_build_info", "/": "Malote", "/openapi.json": `"openapi":"3.1`, "/docs": "API",
	} {
		response, err := own.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("GET %s answers %d %.200s (%v), want %q in it", path, response.StatusCode, body, err, want)
		}
	}
}

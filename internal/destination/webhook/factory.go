package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"time"

	"malote.dev/malote/internal/destination"
	"malote.dev/malote/internal/egress"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

// Options are what all HTTP destinations share.
type Options struct {
	Guard     *egress.Guard     // judges every URL and every address dialled
	Version   string            // of the program, for the User-Agent
	Transport http.RoundTripper // replaces the network, for tests in virtual time
	Logger    *slog.Logger      // nil: slog.Default
}

// Factory makes the senders of HTTP destinations. Those without certificates of their
// own share one pool of connections. It is safe for concurrent use.
type Factory struct {
	options   Options
	userAgent string
	client    *http.Client
}

// privateIdle is how many connections a destination with its own certificates keeps.
const privateIdle = 64

// NewFactory returns a factory.
func NewFactory(options Options) *Factory {
	if options.Version == "" {
		options.Version = "dev"
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	return &Factory{
		options:   options,
		userAgent: "Malote/" + options.Version,
		client:    egress.NewClient(options.Guard, egress.ClientOptions{Transport: options.Transport}),
	}
}

// Open returns a sender for a destination whose HTTP part is set. The error is a
// *hook.Error of KindInvalid whose problems have paths from the destination, such as
// "http.url".
func (f *Factory) Open(dst *hook.Destination) (*destination.Sender, error) {
	driver, err := f.compile(&dst.DestinationSpec)
	if err != nil {
		return nil, err
	}
	return destination.NewSender(driver, destination.Options{
		Name:    dst.Name,
		Timeout: time.Duration(dst.HTTP.Timeout),
		Logger:  f.options.Logger,
	}), nil
}

// Check reports the mistakes of a destination's HTTP part, as Open would, before it is
// saved. A signing secret that is not set yet is no mistake: one is generated then.
// Names in URLs are not looked up.
func (f *Factory) Check(spec *hook.DestinationSpec) error {
	checked := *spec
	if spec.HTTP != nil {
		target := *spec.HTTP
		if sign, _, err := signature.CompleteSign(target.Sign); err == nil {
			target.Sign = sign // otherwise the scheme is unknown, and the compiler says so
		}
		checked.HTTP = &target
	}
	driver, err := f.compile(&checked)
	if err != nil {
		return err
	}
	return driver.Close()
}

// Close closes the connections that no request uses. The factory's senders may still
// send; they connect anew.
func (f *Factory) Close() { f.client.CloseIdleConnections() }

// compile turns a destination's settings into a driver.
func (f *Factory) compile(spec *hook.DestinationSpec) (*driver, error) {
	compiler := &compiler{factory: f}
	if spec.HTTP == nil {
		compiler.wrong("http", "a destination of this kind needs it")
		return nil, compiler.err()
	}
	driver := compiler.compile(spec.HTTP)
	if err := compiler.err(); err != nil {
		return nil, err
	}
	return driver, nil
}

// privateClient returns a client for a destination with its own authorities or
// certificate; with a test's transport it is that of the factory.
func (f *Factory) privateClient(roots *x509.CertPool, certificates []tls.Certificate) *http.Client {
	return egress.NewClient(f.options.Guard, egress.ClientOptions{
		RootCAs: roots, Certificates: certificates, MaxIdle: privateIdle, Transport: f.options.Transport,
	})
}

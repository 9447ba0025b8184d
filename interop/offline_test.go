package interop_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
)

// offline answers what a library fetches by itself from memory, and refuses the rest,
// so that no test reaches the network.
type offline map[string]string

func (o offline) RoundTrip(r *http.Request) (*http.Response, error) {
	text, ok := o[r.URL.String()]
	if !ok {
		return nil, fmt.Errorf("the tests are offline and have no answer for %s", r.URL)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{}, Body: io.NopCloser(bytes.NewReader([]byte(text))),
	}, nil
}

func TestMain(m *testing.M) {
	http.DefaultTransport = offline{snsCertURL: snsPEM()}
	os.Exit(m.Run())
}

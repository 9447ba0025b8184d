// Package webhook is the destination driver for HTTP: any method, authentication,
// signatures, CloudEvents encodings, client certificates.
//
// It sends one request for one attempt. Package destination says what the answer
// means, package deliver what follows from it.
package webhook

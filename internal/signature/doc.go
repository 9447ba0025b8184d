// Package signature proves where requests come from, and signs the ones that we send.
//
// Inbound, Compile turns a source's specification and its provider's profile into a
// Verifier, which answers handshakes, verifies requests, and explains refusals.
// Outbound, a Signer signs deliveries by Standard Webhooks or in a provider's style.
package signature

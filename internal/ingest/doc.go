// Package ingest is the door: it receives requests at /in/{source}, proves where they
// come from, and makes each an event that is durable before the sender is answered.
//
// The way of a request: read the raw body (capped, in limited time), answer a
// handshake, verify, read what identifies the event, match connections, reserve room
// in the lanes of their destinations, store event and deliveries in one commit, answer,
// and hand the deliveries over. Nothing parses a byte before it is verified.
package ingest

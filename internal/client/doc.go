// Package client speaks the HTTP API for the commands. Its errors are for the person
// at the terminal: what could not be done, and what to do about it.
package client

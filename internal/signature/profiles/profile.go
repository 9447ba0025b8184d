// Package profiles knows the providers: one YAML file each, which says how the
// provider's requests are verified, which handshakes it makes, where type, id and key
// of an event are, and what the provider wants to hear. README.md in this folder is
// the reference of the format.
package profiles

import (
	"time"

	"malote.dev/malote/internal/hook"
)

// Profile is what is known about one provider.
type Profile struct {
	Name       string           `json:"name"`                 // unique; what a source's provider names
	Title      string           `json:"title"`                // for people
	Docs       string           `json:"docs,omitempty"`       // https address of the provider's own page
	Tags       []string         `json:"tags,omitempty"`       // what it is for, such as "payments" and "brazil"
	Confirmed  bool             `json:"confirmed"`            // checked against the provider's own source, specification or page
	Notes      *Text            `json:"notes,omitempty"`      // what a person should know before using it
	Extends    string           `json:"extends,omitempty"`    // profile whose values stand in for what is absent here
	Verify     hook.Verify      `json:"verify"`               // how a request proves where it comes from
	Handshakes []hook.Handshake `json:"handshakes,omitempty"` // requests answered without an event
	Type       *hook.Field      `json:"type,omitempty"`
	Key        *hook.Field      `json:"key,omitempty"`
	Dedupe     *hook.Dedupe     `json:"dedupe,omitempty"`
	Reply      *hook.Reply      `json:"reply,omitempty"`
	Methods    []string         `json:"methods,omitempty"`
	SubPaths   bool             `json:"subPaths,omitempty"`
	MaxBody    int64            `json:"maxBody,omitempty"` // bytes
	Secret     *Secret          `json:"secret,omitempty"`  // what the source's secret is here; absent: none is needed
	Settings   []Setting        `json:"settings,omitempty"`
	Retry      *Text            `json:"retry,omitempty"` // how the provider repeats what failed
	Sample     *Sample          `json:"sample,omitempty"`

	place func(path string) string
}

// Place returns where in its file the value with a dotted path stands, or the nearest
// value around it.
func (p *Profile) Place(path string) string {
	if p.place == nil {
		return p.Name + ".yaml"
	}
	return p.place(path)
}

// Text is a sentence or two in the languages of the interface.
type Text struct {
	En string `json:"en"`
	Pt string `json:"pt"`
}

// Secret describes the secret that a person copies from the provider.
type Secret struct {
	Label    Text `json:"label"`
	Help     Text `json:"help"`
	Optional bool `json:"optional,omitempty"` // the source works without
}

// Setting is a value that a source of this profile has to give, or may.
type Setting struct {
	Name     string `json:"name"` // key in the source's settings
	Label    Text   `json:"label"`
	Help     Text   `json:"help"`
	Required bool   `json:"required,omitempty"`
	Default  string `json:"default,omitempty"`
	Example  string `json:"example,omitempty"`
}

// Sample is a complete request as the provider sends it, signed with a secret made
// up for it. It verifies as it stands at Time, and every test relies on that.
type Sample struct {
	Secret      hook.Secret       `json:"secret,omitempty"`
	Settings    map[string]string `json:"settings,omitempty"`
	Time        time.Time         `json:"time,omitzero"`    // when it was signed; default 2026-01-02T03:04:05Z
	Method      string            `json:"method,omitempty"` // default POST
	URL         string            `json:"url,omitempty"`    // default https://hooks.example.com/in/{profile name}
	Headers     map[string]string `json:"headers,omitempty"`
	Body        string            `json:"body,omitempty"`
	Certificate string            `json:"certificate,omitempty"` // PEM of the sender's client certificate
	Keys        map[string]string `json:"keys,omitempty"`        // what the addresses that the rule fetches would answer
	Type        string            `json:"type,omitempty"`        // the event type that is read from it
	ID          string            `json:"id,omitempty"`          // the delivery id that is read from it
}

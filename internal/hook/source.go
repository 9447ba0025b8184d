package hook

import (
	"encoding/json"
	"time"
)

// Source is where events come in.
type Source struct {
	ID        SourceID  `json:"id"`
	Project   ProjectID `json:"project"`
	Name      string    `json:"name"`    // unique in the project; part of the URL /in/{name}
	Version   int64     `json:"version"` // grows with every change
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	SourceSpec
}

// SourceSpec is what a person sets on a source. What is absent comes from the
// provider's profile, and without one from the defaults that the fields name.
type SourceSpec struct {
	Provider string            `json:"provider,omitempty"` // name of a profile; "" for none
	Secret   Secret            `json:"secret,omitempty"`   // one secret …
	Secrets  []Secret          `json:"secrets,omitempty"`  // … or several while rotating; any may match
	Settings map[string]string `json:"settings,omitempty"` // values that the profile asks for, such as the registered URL
	Verify   *Verify           `json:"verify,omitempty"`   // replaces the profile's rule
	Type     *Field            `json:"type,omitempty"`     // where the event type is; default: the constant "event"
	Key      *Field            `json:"key,omitempty"`      // where the business key is (order number, customer)
	Dedupe   *Dedupe           `json:"dedupe,omitempty"`   // how duplicates are known
	Reply    *Reply            `json:"reply,omitempty"`    // what an accepted request is answered
	Methods  []string          `json:"methods,omitempty"`  // allowed methods; default POST
	SubPaths bool              `json:"subPaths,omitempty"` // paths below /in/{source} are taken too
	MaxBody  int64             `json:"maxBody,omitempty"`  // bytes; default DefaultMaxBody
	Disabled bool              `json:"disabled,omitempty"` // answers 404 to everything
	System   bool              `json:"system,omitempty"`   // the project's built-in source, SystemSource: nobody makes, changes or calls it

	Handshakes []Handshake `json:"handshakes,omitempty"` // requests answered without an event; before the profile's
}

// AllSecrets returns the secrets in the order in which they are tried.
func (s *SourceSpec) AllSecrets() []Secret {
	all := make([]Secret, 0, 1+len(s.Secrets))
	if s.Secret != "" {
		all = append(all, s.Secret)
	}
	return append(all, s.Secrets...)
}

// DefaultMaxBody is the largest request body that a source takes unless it says
// otherwise, in bytes.
const DefaultMaxBody = 1 << 20

// Field says where a value is read from in a request: exactly one of its places.
// In JSON and YAML a plain text is a constant.
type Field struct {
	Header string `json:"header,omitempty"` // a header's value
	Query  string `json:"query,omitempty"`  // a query parameter's value
	Path   string `json:"path,omitempty"`   // a dotted path into the JSON or form body, such as "data.id"
	Expr   string `json:"expr,omitempty"`   // a CEL expression over data, headers, query
	Value  string `json:"value,omitempty"`  // a constant
	Or     *Field `json:"or,omitempty"`     // where to look when the value is absent
}

// UnmarshalJSON accepts a text as a constant.
func (f *Field) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		*f = Field{}
		return json.Unmarshal(text, &f.Value)
	}
	type plain Field
	return strictUnmarshal(text, (*plain)(f))
}

// Dedupe says how duplicates of an event are recognised.
type Dedupe struct {
	Field

	Window Duration `json:"window,omitempty"` // how long an id is remembered; default DefaultDedupeWindow
	Off    bool     `json:"off,omitempty"`    // every request is an event, whatever the profile says
}

// UnmarshalJSON is needed because the embedded Field has one of its own.
func (d *Dedupe) UnmarshalJSON(text []byte) error {
	var plain struct {
		Header string   `json:"header"`
		Query  string   `json:"query"`
		Path   string   `json:"path"`
		Expr   string   `json:"expr"`
		Value  string   `json:"value"`
		Or     *Field   `json:"or"`
		Window Duration `json:"window"`
		Off    bool     `json:"off"`
	}
	if err := strictUnmarshal(text, &plain); err != nil {
		return err
	}
	*d = Dedupe{
		Field:  Field{Header: plain.Header, Query: plain.Query, Path: plain.Path, Expr: plain.Expr, Value: plain.Value, Or: plain.Or},
		Window: plain.Window, Off: plain.Off,
	}
	return nil
}

// DefaultDedupeWindow is how long an id is remembered unless the source says otherwise.
const DefaultDedupeWindow = Duration(day)

// Reply is what a sender is answered. "{event}" in the body becomes the event's id.
type Reply struct {
	Status  int               `json:"status,omitempty"` // default 200
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`  // default {"id":"{event}"}
	Empty   bool              `json:"empty,omitempty"` // no body at all, for senders that insist
}

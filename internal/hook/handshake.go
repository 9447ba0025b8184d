package hook

// Handshake is a request that a provider sends to see whether somebody is there, or
// to subscribe, and that is answered at once, without an event.
type Handshake struct {
	Name     string         `json:"name"`               // what it is, for logs and lists, such as "url_verification"
	When     HandshakeMatch `json:"when"`               // which requests
	Verified bool           `json:"verified,omitempty"` // the request must pass verification first
	Fetch    string         `json:"fetch,omitempty"`    // template of an https URL to GET before answering
	Hosts    []string       `json:"hosts,omitempty"`    // allowed hosts of Fetch: "sns.*.amazonaws.com"; "*" is one label
	Reply    HandshakeReply `json:"reply"`
}

// HandshakeMatch tells a handshake from an event: everything that it names must hold.
// The values of the maps are "*" for present, "" for absent, or a template that the
// value must equal.
type HandshakeMatch struct {
	Methods []string          `json:"methods,omitempty"` // empty: any
	Headers map[string]string `json:"headers,omitempty"`
	Query   map[string]string `json:"query,omitempty"`
	Fields  map[string]string `json:"fields,omitempty"` // dotted paths into the JSON or form body
}

// HandshakeReply is the answer. Headers and Body are templates.
type HandshakeReply struct {
	Status  int               `json:"status,omitempty"`  // default 200
	Headers map[string]string `json:"headers,omitempty"` // default Content-Type: text/plain
	Body    string            `json:"body,omitempty"`
}

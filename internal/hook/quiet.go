package hook

// Quiet is the hours in which nothing is delivered: what is due meanwhile waits until
// they are over. The times are those of a clock on the wall of Zone, changes of summer
// time included.
type Quiet struct {
	From string   `json:"from"`           // "22:00"
	To   string   `json:"to"`             // "06:00"; before From: of the next day; the same: the whole day
	Days []string `json:"days,omitempty"` // on which they begin: mon, tue, wed, thu, fri, sat, sun; none: every day
	Zone string   `json:"zone,omitempty"` // IANA name, such as America/Sao_Paulo; default UTC
}

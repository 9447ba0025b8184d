package hook

// Catalogue is everything that people set up, in all projects, at one moment.
type Catalogue struct {
	Revision     int64 // grows with every change
	Projects     []Project
	Sources      []Source
	Destinations []Destination
	Connections  []Connection
}

// Change is one step of a plan that is applied to the catalogue as a whole. Exactly
// one noun is set.
type Change struct {
	Op          ChangeOp
	Source      *Source
	Destination *Destination
	Connection  *Connection
}

// ChangeOp says what a Change does.
type ChangeOp string

// The operations of a change.
const (
	OpCreate ChangeOp = "create"
	OpUpdate ChangeOp = "update"
	OpDelete ChangeOp = "delete"
)

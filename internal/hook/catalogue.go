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

	// From and To name the ends of Connection. They count where its Source or
	// Destination is zero, because the same plan creates that end and its id is not
	// known before.
	From, To string
}

// ChangeOp says what a Change does.
type ChangeOp string

// The operations of a change.
const (
	OpCreate ChangeOp = "create"
	OpUpdate ChangeOp = "update"
	OpDelete ChangeOp = "delete"
)

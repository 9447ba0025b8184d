package rest

import (
	"strconv"
	"strings"
	"time"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
)

// Inputs that many routes share. The adapter sees the fields of embedded structs only
// when their types are exported.

// JSONBody is the body of a request as it came.
type JSONBody struct {
	RawBody []byte `contentType:"application/json"`
}

// Ref names one noun in the path.
type Ref struct {
	ID string `path:"id" doc:"The id, or the name"`
}

// IfMatch is the version that a change starts from.
type IfMatch struct {
	IfMatch string `header:"If-Match" doc:"The ETag that the change starts from; another version is a conflict"`
}

// Paging asks for one page of a list.
type Paging struct {
	Limit    int    `query:"limit" minimum:"1" maximum:"250" default:"50" doc:"How many items"`
	Iterator string `query:"iterator" doc:"The iterator of the page before, or the prevIterator of the page after"`
}

// TimeRange selects by time.
type TimeRange struct {
	After  time.Time `query:"after" doc:"At or after this time"`
	Before time.Time `query:"before" doc:"Before this time"`
}

// List is one page of a list.
type List[T any] struct {
	Data         []T     `json:"data"`
	Iterator     *string `json:"iterator" doc:"Gets the next page"`
	PrevIterator *string `json:"prevIterator" doc:"Gets the page before"`
	Done         bool    `json:"done" doc:"Nothing more lies in the direction walked"`
}

type (
	// BodyOnly is the input of routes that take a body and nothing else.
	BodyOnly struct{ JSONBody }
	// One is the input of routes about one noun.
	One struct{ Ref }
	// OneBody is the input of actions on one noun that take a body.
	OneBody struct {
		Ref
		JSONBody
	}
	// Change is the input of routes that change one noun.
	Change struct {
		Ref
		IfMatch
		JSONBody
	}
	// End is the input of routes that delete one noun.
	End struct {
		Ref
		IfMatch
	}
	// NoInput is the input of routes that take nothing.
	NoInput struct{}
	// NoOutput is the output of routes that answer 204.
	NoOutput struct{}
)

// Out is an answer with a body.
type Out[T any] struct {
	Body T
}

// Versioned is an answer whose body is a noun with a version.
type Versioned[T any] struct {
	ETag string `header:"ETag"`
	Body T
}

// Answer returns an answer with the body.
func Answer[T any](body T) *Out[T] { return &Out[T]{Body: body} }

// AnswerVersion returns an answer with the body of a noun and its version.
func AnswerVersion[T any](version int64, body T) *Versioned[T] {
	return &Versioned[T]{ETag: strconv.Quote(strconv.FormatInt(version, 10)), Body: body}
}

// number is what ids have in common.
type number interface {
	~int64
	String() string
}

// PageOf turns the parameters of a list into a page request; parse reads an id of
// the list's nouns.
func PageOf[I number](in Paging, parse func(string) (I, error)) (page.Request, error) {
	return page.Parse(in.Limit, in.Iterator, func(text string) (int64, error) {
		id, err := parse(text)
		return int64(id), err
	})
}

// ListOf turns a page of the store into a page of the API.
func ListOf[I number, T, O any](p page.Page[T], show func(*T) O) *Out[List[O]] {
	list := List[O]{Data: make([]O, len(p.Items)), Done: p.Done}
	for i := range p.Items {
		list.Data[i] = show(&p.Items[i])
	}
	if p.Last != 0 {
		text := I(p.Last).String()
		list.Iterator = &text
	}
	if p.First != 0 {
		text := "-" + I(p.First).String()
		list.PrevIterator = &text
	}
	return Answer(list)
}

// Expect fails unless the version that a change starts from is the stored one. A body
// version of 0 and an empty header ask for nothing.
func Expect(stored, inBody int64, header string) error {
	header = strings.Trim(strings.TrimPrefix(strings.TrimSpace(header), "W/"), `"`)
	if header != "" && header != "*" && header != strconv.FormatInt(stored, 10) {
		return conflict(stored)
	}
	if inBody != 0 && inBody != stored {
		return conflict(stored)
	}
	return nil
}

func conflict(stored int64) error {
	return hook.Errorf(hook.KindConflict, "somebody else changed it: it has version %d now; read it again and repeat the change", stored)
}

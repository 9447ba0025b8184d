package api

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

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

// List is one page of a list.
type List[T any] struct {
	Data         []T     `json:"data"`
	Iterator     *string `json:"iterator" doc:"Gets the next page"`
	PrevIterator *string `json:"prevIterator" doc:"Gets the page before"`
	Done         bool    `json:"done" doc:"Nothing more lies in the direction walked"`
}

type (
	// bodyOnly is the input of routes that take a body and nothing else.
	bodyOnly struct{ JSONBody }
	// oneNoun is the input of routes about one noun.
	oneNoun struct{ Ref }
	// nounBody is the input of actions on one noun that take a body.
	nounBody struct {
		Ref
		JSONBody
	}
	// nounChange is the input of routes that change one noun.
	nounChange struct {
		Ref
		IfMatch
		JSONBody
	}
	// nounEnd is the input of routes that delete one noun.
	nounEnd struct {
		Ref
		IfMatch
	}
	// noInput is the input of routes that take nothing.
	noInput struct{}
	// noOutput is the output of routes that answer 204.
	noOutput struct{}
)

// out is an answer with a body.
type out[T any] struct {
	Body T
}

// versioned is an answer whose body is a noun with a version.
type versioned[T any] struct {
	ETag string `header:"ETag"`
	Body T
}

func answerWith[T any](body T) *out[T] { return &out[T]{Body: body} }

func answerVersion[T any](version int64, body T) *versioned[T] {
	return &versioned[T]{ETag: strconv.Quote(strconv.FormatInt(version, 10)), Body: body}
}

// number is what ids have in common.
type number interface {
	~int64
	String() string
}

// request turns the parameters of a list into a page request; parse reads an id of
// the list's nouns.
func pageOf[I number](in Paging, parse func(string) (I, error)) (page.Request, error) {
	return page.Parse(in.Limit, in.Iterator, func(text string) (int64, error) {
		id, err := parse(text)
		return int64(id), err
	})
}

// listOf turns a page of the store into a page of the API.
func listOf[I number, T, O any](p page.Page[T], show func(*T) O) *out[List[O]] {
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
	return answerWith(list)
}

// expect fails unless the version that a change starts from is the stored one. A body
// version of 0 and an empty header ask for nothing.
func expect(stored, inBody int64, header string) error {
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

// changed puts a change of the catalogue in force before it is answered, so that
// whoever made it finds it at work, and writes it to the log.
func (s *server) changed(ctx context.Context, what string, noun fmt.Stringer) error {
	s.audit(ctx, what, noun)
	if err := s.Router.Reload(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("%s, but it is not in force yet: %w", what, err)
	}
	return nil
}

// reference is how a caller named a noun.
type reference string

// String implements fmt.Stringer.
func (r reference) String() string { return string(r) }

// audit writes to the log who did what.
func (s *server) audit(ctx context.Context, what string, noun fmt.Stringer) {
	c := callerOf(ctx)
	s.Logger.LogAttrs(ctx, slog.LevelInfo, "somebody acted through the API", slog.String("action", what), slog.String("id", noun.String()),
		slog.String("project", c.project.String()), slog.String("token", c.token.ID.String()), slog.String("request_id", requestID(ctx)))
}

// checkName returns the problem of a noun's name.
func checkName(name string) []hook.Problem {
	if err := hook.CheckName(name); err != nil {
		return []hook.Problem{{Path: "name", Message: err.Error()}}
	}
	return nil
}

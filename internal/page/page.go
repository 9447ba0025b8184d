// Package page cuts lists into pages by cursor. A cursor is the id of the last item
// seen; one that begins with "-" walks back. It knows nothing of what the items are.
package page

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of a page's size.
const (
	DefaultLimit = 50
	MaxLimit     = 250
)

// Request asks for one page. The zero value asks for the first DefaultLimit items.
type Request struct {
	Limit int   // how many items; 0 means DefaultLimit
	From  int64 // continue after this item; 0 begins at the start
	Back  bool  // walk towards the start instead
}

// ErrBad is wrapped by the errors of Parse.
var ErrBad = errors.New("malformed page request")

// Parse reads the limit and iterator of a query; id turns an item's public id into
// its number. A limit of 0 and an empty iterator mean "not given".
func Parse(limit int, iterator string, id func(string) (int64, error)) (Request, error) {
	if limit < 0 || limit > MaxLimit {
		return Request{}, fmt.Errorf("%w: limit is %d, it goes from 1 to %d", ErrBad, limit, MaxLimit)
	}
	req := Request{Limit: limit}
	text, back := strings.CutPrefix(iterator, "-")
	req.Back = back
	if text == "" {
		return req, nil
	}
	from, err := id(text)
	if err != nil {
		return Request{}, fmt.Errorf("%w: the iterator is not from a page of this list: %w", ErrBad, err)
	}
	req.From = from
	return req, nil
}

// Size returns the number of items asked for.
func (r Request) Size() int {
	if r.Limit <= 0 {
		return DefaultLimit
	}
	return min(r.Limit, MaxLimit)
}

// Page is one page of a list.
type Page[T any] struct {
	Items []T   // in the list's order, whichever way it was walked
	First int64 // number of the first item, 0 when there is none
	Last  int64 // number of the last item, or of the last one looked at when a filter hid the rest
	Done  bool  // nothing more lies in the direction walked
}

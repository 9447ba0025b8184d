package client

import (
	"context"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/page"
)

// list walks the pages of a list until it ends or limit items came; a limit of 0 is none.
func list[T any](ctx context.Context, c *Client, path string, query url.Values, limit int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query = clone(query)
		for left := limit; ; {
			size := page.MaxLimit
			if limit > 0 {
				size = min(size, left)
			}
			query.Set("limit", strconv.Itoa(size))
			var got api.List[T]
			if err := c.get(ctx, path, query, &got); err != nil {
				yield(*new(T), err)
				return
			}
			for _, item := range got.Data {
				if !yield(item, nil) {
					return
				}
			}
			left -= len(got.Data)
			if got.Done || got.Iterator == nil || (limit > 0 && left <= 0) {
				return
			}
			query.Set("iterator", *got.Iterator)
		}
	}
}

func clone(query url.Values) url.Values {
	copied := make(url.Values, len(query)+2) // room for limit and iterator
	maps.Copy(copied, query)
	return copied
}

// followPause is how long follow waits before it asks again.
const followPause = time.Second

// feed is a list that can be followed.
type feed struct {
	path  string
	query url.Values
	start string // iterator that gets the oldest item
}

// follow yields the newest last items of a list, the oldest first, and then what comes
// new, until ctx ends.
func follow[T any](ctx context.Context, c *Client, of feed, last int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query := clone(of.query)
		query.Set("limit", strconv.Itoa(max(1, min(last, page.MaxLimit))))
		show := last > 0
		for {
			var got api.List[T]
			if err := c.get(ctx, of.path, query, &got); err != nil {
				if ctx.Err() == nil {
					yield(*new(T), err)
				}
				return
			}
			for _, item := range slices.Backward(got.Data) {
				if show && !yield(item, nil) {
					return
				}
			}
			switch {
			case got.PrevIterator != nil:
				query.Set("iterator", *got.PrevIterator)
			case !query.Has("iterator"):
				query.Set("iterator", of.start)
			}
			query.Set("limit", strconv.Itoa(page.MaxLimit))
			show = true
			if len(got.Data) == page.MaxLimit {
				continue // there may be more already
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(followPause):
			}
		}
	}
}

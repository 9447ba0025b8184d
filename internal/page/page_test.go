package page_test

import (
	"errors"
	"strconv"
	"testing"

	"malote.dev/malote/internal/page"
)

func number(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }

func TestParse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		limit    int
		iterator string
		want     page.Request
		size     int
		bad      bool
	}{
		{want: page.Request{}, size: page.DefaultLimit},
		{limit: 10, iterator: "42", want: page.Request{Limit: 10, From: 42}, size: 10},
		{limit: 250, iterator: "-42", want: page.Request{Limit: 250, From: 42, Back: true}, size: 250},
		{iterator: "-", want: page.Request{Back: true}, size: page.DefaultLimit},
		{limit: 251, bad: true},
		{limit: -1, bad: true},
		{iterator: "x", bad: true},
	} {
		got, err := page.Parse(test.limit, test.iterator, number)
		if test.bad != errors.Is(err, page.ErrBad) {
			t.Errorf("Parse(%d, %q) failed with %v", test.limit, test.iterator, err)
		}
		if !test.bad && (got != test.want || got.Size() != test.size) {
			t.Errorf("Parse(%d, %q) = %+v of %d items, want %+v of %d", test.limit, test.iterator, got, got.Size(), test.want, test.size)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(1, "-12")
	f.Add(0, "--")
	f.Fuzz(func(t *testing.T, limit int, iterator string) {
		request, err := page.Parse(limit, iterator, number)
		if err == nil && (request.Size() < 1 || request.Size() > page.MaxLimit) {
			t.Errorf("a page of %d items", request.Size())
		}
	})
}

package control

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store"
)

// KeyIn names a key of a connection.
type KeyIn struct {
	Key string `json:"key" doc:"The key's text, as the list shows it"`
}

// EndKeyIn names a key of a connection, and says why its deliveries are canceled.
type EndKeyIn struct {
	Key    string `json:"key" doc:"The key's text, as the list shows it"`
	Reason string `json:"reason,omitempty" doc:"A sentence that stays with the deliveries that are canceled"`
}

// KeyOut says what became of a key.
type KeyOut struct {
	Connection hook.ConnectionID `json:"connection"`
	Key        string            `json:"key"`
	Deliveries int               `json:"deliveries" doc:"How many deliveries were released or canceled"`
}

func (s *service) keyRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/key", ID: "key.list", Role: hook.RoleViewer,
			Summary: "List the parked keys of all connections", Bind: rest.Handle(s.listParked),
		},
		{
			Method: http.MethodGet, Path: "/connection/{id}/key", ID: "connection.key.list", Role: hook.RoleViewer,
			Summary: "List the keys of a connection for which deliveries wait", More: "In the order of their texts.",
			Bind: rest.Handle(s.listKeys),
		},
		{
			Method: http.MethodPost, Path: "/connection/{id}/key/release", ID: "connection.key.release", Role: hook.RoleOperator,
			Summary: "Release a parked key", More: "Its head is attempted now, its schedule begun anew.",
			In: KeyIn{}, Bind: rest.Handle(s.releaseKey),
		},
		{
			Method: http.MethodPost, Path: "/connection/{id}/key/skip", ID: "connection.key.skip", Role: hook.RoleOperator,
			Summary: "Cancel the head of a key", More: "The next delivery of the key goes. One that is being sent is a conflict.",
			In: EndKeyIn{}, Bind: rest.Handle(s.skipKey),
		},
		{
			Method: http.MethodPost, Path: "/connection/{id}/key/drop", ID: "connection.key.drop", Role: hook.RoleOperator,
			Summary: "Cancel everything that waits for a key", In: EndKeyIn{}, Bind: rest.Handle(s.dropKey),
		},
	}
}

// KeyPaging asks for one page of a list of keys.
type KeyPaging struct {
	Limit    int    `query:"limit" minimum:"1" maximum:"250" default:"50" doc:"How many keys"`
	Iterator string `query:"iterator" doc:"The iterator of the page before"`
}

type listParkedIn struct {
	Parked bool `query:"parked" doc:"Must be true: those that are not parked are listed for one connection"`
	KeyPaging
}

type listKeysIn struct {
	rest.Ref
	Parked bool `query:"parked" doc:"Only those whose head is parked"`
	KeyPaging
}

func (s *service) listParked(ctx context.Context, in *listParkedIn) (*rest.Out[rest.List[hook.OrderedKey]], error) {
	if !in.Parked {
		return nil, rest.InvalidQuery("parked", "only parked keys are listed of all connections: "+
			"write parked=true, or list all keys of one connection by GET /api/v1/connection/{id}/key")
	}
	return s.keys(ctx, &store.KeyQuery{Parked: true}, in.KeyPaging)
}

func (s *service) listKeys(ctx context.Context, in *listKeysIn) (*rest.Out[rest.List[hook.OrderedKey]], error) {
	c, err := s.Nouns.Connections().Get(ctx, rest.ProjectOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return s.keys(ctx, &store.KeyQuery{Connection: c.ID, Parked: in.Parked}, in.KeyPaging)
}

// keys answers with one page of keys. One more than the page holds is asked for: it
// tells whether there is another page.
func (s *service) keys(ctx context.Context, query *store.KeyQuery, paging KeyPaging) (*rest.Out[rest.List[hook.OrderedKey]], error) {
	var err error
	query.Project = rest.ProjectOf(ctx)
	if query.After, err = readIterator(query.Project, paging.Iterator); err != nil {
		return nil, err
	}
	size := page.Request{Limit: paging.Limit}.Size()
	query.Limit = size + 1
	found, err := s.Keys.ListKeys(ctx, *query)
	if err != nil {
		return nil, err
	}
	list := rest.List[hook.OrderedKey]{Data: append([]hook.OrderedKey{}, found...), Done: len(found) <= size}
	if !list.Done {
		list.Data = list.Data[:size]
		text := iteratorOf(&list.Data[size-1])
		list.Iterator = &text
	}
	return rest.Answer(list), nil
}

// iteratorOf returns what gets the page after a key.
func iteratorOf(last *hook.OrderedKey) string {
	return last.Connection.String() + "." + base64.RawURLEncoding.EncodeToString([]byte(last.Key))
}

// readIterator returns the key that an iterator continues after.
func readIterator(project hook.ProjectID, text string) (store.Key, error) {
	if text == "" {
		return store.Key{}, nil
	}
	connection, encoded, _ := strings.Cut(text, ".")
	id, err := hook.ParseID[hook.ConnectionID](connection)
	key, broken := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || broken != nil || id == 0 || len(key) == 0 {
		return store.Key{}, fmt.Errorf("%w: the iterator is not from a page of this list", page.ErrBad)
	}
	return store.Key{Project: project, Connection: id, Key: string(key)}, nil
}

// keyOf finds the key that a body names, and where its deliveries go.
func (s *service) keyOf(ctx context.Context, ref, key string) (store.Key, hook.DestinationID, error) {
	c, err := s.Nouns.Connections().Get(ctx, rest.ProjectOf(ctx), ref)
	if err != nil {
		return store.Key{}, 0, err
	}
	if key == "" {
		return store.Key{}, 0, hook.Invalid("no key was named", []hook.Problem{{Path: "key", Message: "the text of a key is needed: the list of keys shows it"}})
	}
	return store.Key{Project: c.Project, Connection: c.ID, Key: key}, c.Destination, nil
}

func (s *service) releaseKey(ctx context.Context, in *rest.OneBody) (*rest.Out[KeyOut], error) {
	var given KeyIn
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	key, destination, err := s.keyOf(ctx, in.ID, given.Key)
	if err != nil {
		return nil, err
	}
	if err := s.Keys.ReleaseKey(ctx, key, s.Now()); err != nil {
		return nil, err
	}
	return s.decided(ctx, "released a key", keyDone{key, destination, 1})
}

func (s *service) skipKey(ctx context.Context, in *rest.OneBody) (*rest.Out[KeyOut], error) {
	return s.endKey(ctx, in, "skipped by hand", func(key store.Key, reason string) (int, error) {
		return 1, s.Keys.SkipKey(ctx, key, reason)
	})
}

func (s *service) dropKey(ctx context.Context, in *rest.OneBody) (*rest.Out[KeyOut], error) {
	return s.endKey(ctx, in, "dropped by hand", func(key store.Key, reason string) (int, error) {
		// What waits for a key may be much: it is canceled to its end when the caller does not wait.
		dropped, err := s.Keys.DropKey(context.WithoutCancel(ctx), key, reason)
		if err == nil && dropped == 0 {
			err = hook.NotFound("order key", key.Key)
		}
		return dropped, err
	})
}

// endKey cancels deliveries of a key, for the reason that the caller gives or else for
// the usual one.
func (s *service) endKey(
	ctx context.Context, in *rest.OneBody, usual string, end func(store.Key, string) (int, error),
) (*rest.Out[KeyOut], error) {
	given := EndKeyIn{}
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	if given.Reason == "" {
		given.Reason = usual
	}
	if len(given.Reason) > maxReason {
		return nil, hook.Invalid("nothing was canceled", []hook.Problem{{Path: "reason", Message: "is longer than 500 bytes"}})
	}
	key, destination, err := s.keyOf(ctx, in.ID, given.Key)
	if err != nil {
		return nil, err
	}
	count, err := end(key, given.Reason)
	if err != nil {
		return nil, err
	}
	return s.decided(ctx, "canceled deliveries of a key", keyDone{key, destination, count})
}

// keyDone is what was done to a key.
type keyDone struct {
	key         store.Key
	destination hook.DestinationID
	deliveries  int
}

// decided wakes the destination of a key, whose next delivery may be due, and answers.
func (s *service) decided(ctx context.Context, what string, done keyDone) (*rest.Out[KeyOut], error) {
	s.Deliver.Wake(done.destination)
	rest.Acted(ctx, s.Logger, what, done.key.Connection)
	return rest.Answer(KeyOut{Connection: done.key.Connection, Key: done.key.Key, Deliveries: done.deliveries}), nil
}

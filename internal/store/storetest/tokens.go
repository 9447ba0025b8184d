package storetest

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
	"malote.dev/malote/internal/store/storetest/stage"
)

func tokenTests() map[string]func(*world) {
	return map[string]func(*world){
		"a token is found by its hash alone":  tokenRoundTrip,
		"tokens are listed in their project":  tokenLists,
		"a deleted token is gone":             tokenDeleted,
		"a token's use is noted to a minute":  tokenTouched,
		"a token without sense is refused":    tokenRefused,
		"deleting is confined to the project": tokenIsolated,
	}
}

func (w *world) token(p place, name string) hook.Token {
	w.Helper()
	token := hook.Token{Project: p.Project, Name: name, Role: hook.RoleOperator, Hash: sha256.Sum256([]byte(p.Project.String() + name))}
	w.Must(w.Store.CreateToken(w.Context(), &token))
	return token
}

func tokenRoundTrip(w *world) {
	expires := stage.Noon().Add(123 * time.Millisecond)
	token := hook.Token{Project: w.Home.Project, Name: "ci", Role: hook.RoleViewer, Hash: sha256.Sum256([]byte("x")), ExpiresAt: &expires}
	w.Must(w.Store.CreateToken(w.Context(), &token))
	got, err := w.Store.TokenByHash(w.Context(), token.Hash)
	w.Must(err)
	if diff := cmp.Diff(token, got); diff != "" || token.ID == 0 || token.CreatedAt.IsZero() {
		w.Errorf("token:\n%s", diff)
	}
	_, err = w.Store.TokenByHash(w.Context(), sha256.Sum256([]byte("y")))
	w.Wants(hook.KindNotFound, err)
	w.Crash()
	got, err = w.Store.TokenByHash(w.Context(), token.Hash)
	w.Must(err)
	if diff := cmp.Diff(token, got); diff != "" {
		w.Errorf("token after a crash:\n%s", diff)
	}
}

func tokenLists(w *world) {
	for i := range 5 {
		w.token(w.Home, fmt.Sprint("t", i))
	}
	w.token(w.Other, "t0")
	var names []string
	req := page.Request{Limit: 2}
	for {
		p, err := w.Store.ListTokens(w.Context(), w.Home.Project, req)
		w.Must(err)
		for i := range p.Items {
			names = append(names, p.Items[i].Name)
		}
		if p.Done {
			break
		}
		req.From = p.Last
	}
	if want := []string{"t0", "t1", "t2", "t3", "t4"}; !cmp.Equal(names, want) {
		w.Errorf("tokens %v, want %v", names, want)
	}
	back, err := w.Store.ListTokens(w.Context(), w.Home.Project, page.Request{Limit: 2, Back: true})
	w.Must(err)
	if len(back.Items) != 2 || back.Items[1].Name != "t4" || back.Done {
		w.Errorf("the last page from the end: %+v", back)
	}
	empty, err := w.Store.ListTokens(w.Context(), 999, page.Request{})
	w.Must(err)
	if empty.Items != nil || !empty.Done {
		w.Errorf("an empty list is %+v", empty)
	}
}

func tokenDeleted(w *world) {
	first, second := w.token(w.Home, "first"), w.token(w.Home, "second")
	w.Must(w.Store.DeleteToken(w.Context(), w.Home.Project, "first"))
	w.Must(w.Store.DeleteToken(w.Context(), w.Home.Project, second.ID.String()))
	for _, token := range []hook.Token{first, second} {
		_, err := w.Store.TokenByHash(w.Context(), token.Hash)
		w.Wants(hook.KindNotFound, err)
		w.Wants(hook.KindNotFound, w.Store.DeleteToken(w.Context(), w.Home.Project, token.Name))
	}
	w.token(w.Home, "first")
}

func tokenTouched(w *world) {
	token := w.token(w.Home, "busy")
	for _, after := range []time.Duration{0, 10 * time.Second, 59 * time.Second, 61 * time.Second} {
		w.Store.TouchToken(token.ID, stage.Noon().Add(after))
	}
	w.Settled()
	got, err := w.Store.TokenByHash(w.Context(), token.Hash)
	w.Must(err)
	if want := stage.Noon().Add(time.Minute); got.LastUsedAt == nil || !got.LastUsedAt.Equal(want) {
		w.Errorf("last used %v, want %v", got.LastUsedAt, want)
	}
	w.Store.TouchToken(token.ID, stage.Noon())
	w.Settled()
	got, err = w.Store.TokenByHash(w.Context(), token.Hash)
	w.Must(err)
	if want := stage.Noon().Add(time.Minute); !got.LastUsedAt.Equal(want) {
		w.Errorf("an older use moved it back to %v", got.LastUsedAt)
	}
	w.Store.TouchToken(12345, stage.Noon()) // It may be deleted meanwhile.
	w.Settled()
}

func tokenRefused(w *world) {
	token := w.token(w.Home, "taken")
	w.Wants(hook.KindConflict, w.Store.CreateToken(w.Context(), &hook.Token{Project: w.Home.Project, Name: "taken", Role: hook.RoleAdmin, Hash: [32]byte{1}}))
	w.Wants(hook.KindInvalid, w.Store.CreateToken(w.Context(), &hook.Token{Project: w.Home.Project, Name: "", Role: hook.RoleAdmin, Hash: [32]byte{2}}))
	w.Wants(hook.KindInvalid, w.Store.CreateToken(w.Context(), &hook.Token{Project: w.Home.Project, Name: "x", Role: "king", Hash: [32]byte{3}}))
	w.Wants(hook.KindNotFound, w.Store.CreateToken(w.Context(), &hook.Token{Project: 999, Name: "x", Role: hook.RoleAdmin, Hash: [32]byte{4}}))
	if err := w.Store.CreateToken(w.Context(), &hook.Token{Project: w.Home.Project, Name: "same", Role: hook.RoleAdmin, Hash: token.Hash}); err == nil {
		w.Error("two tokens have one hash")
	}
}

func tokenIsolated(w *world) {
	token := w.token(w.Other, "theirs")
	w.Wants(hook.KindNotFound, w.Store.DeleteToken(w.Context(), w.Home.Project, token.ID.String()))
	w.Wants(hook.KindNotFound, w.Store.DeleteToken(w.Context(), w.Home.Project, "theirs"))
	_, err := w.Store.TokenByHash(w.Context(), token.Hash)
	w.Must(err)
}

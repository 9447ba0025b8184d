package storetest

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/page"
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
	token := hook.Token{Project: p.project, Name: name, Role: hook.RoleOperator, Hash: sha256.Sum256([]byte(p.project.String() + name))}
	w.must(w.store.CreateToken(w.Context(), &token))
	return token
}

func tokenRoundTrip(w *world) {
	expires := noon.Add(123 * time.Millisecond)
	token := hook.Token{Project: w.home.project, Name: "ci", Role: hook.RoleViewer, Hash: sha256.Sum256([]byte("x")), ExpiresAt: &expires}
	w.must(w.store.CreateToken(w.Context(), &token))
	got, err := w.store.TokenByHash(w.Context(), token.Hash)
	w.must(err)
	if diff := cmp.Diff(token, got); diff != "" || token.ID == 0 || token.CreatedAt.IsZero() {
		w.Errorf("token:\n%s", diff)
	}
	_, err = w.store.TokenByHash(w.Context(), sha256.Sum256([]byte("y")))
	w.wants(hook.KindNotFound, err)
	w.crash()
	got, err = w.store.TokenByHash(w.Context(), token.Hash)
	w.must(err)
	if diff := cmp.Diff(token, got); diff != "" {
		w.Errorf("token after a crash:\n%s", diff)
	}
}

func tokenLists(w *world) {
	for i := range 5 {
		w.token(w.home, fmt.Sprint("t", i))
	}
	w.token(w.other, "t0")
	var names []string
	req := page.Request{Limit: 2}
	for {
		p, err := w.store.ListTokens(w.Context(), w.home.project, req)
		w.must(err)
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
	back, err := w.store.ListTokens(w.Context(), w.home.project, page.Request{Limit: 2, Back: true})
	w.must(err)
	if len(back.Items) != 2 || back.Items[1].Name != "t4" || back.Done {
		w.Errorf("the last page from the end: %+v", back)
	}
	empty, err := w.store.ListTokens(w.Context(), 999, page.Request{})
	w.must(err)
	if empty.Items != nil || !empty.Done {
		w.Errorf("an empty list is %+v", empty)
	}
}

func tokenDeleted(w *world) {
	first, second := w.token(w.home, "first"), w.token(w.home, "second")
	w.must(w.store.DeleteToken(w.Context(), w.home.project, "first"))
	w.must(w.store.DeleteToken(w.Context(), w.home.project, second.ID.String()))
	for _, token := range []hook.Token{first, second} {
		_, err := w.store.TokenByHash(w.Context(), token.Hash)
		w.wants(hook.KindNotFound, err)
		w.wants(hook.KindNotFound, w.store.DeleteToken(w.Context(), w.home.project, token.Name))
	}
	w.token(w.home, "first")
}

func tokenTouched(w *world) {
	token := w.token(w.home, "busy")
	for _, after := range []time.Duration{0, 10 * time.Second, 59 * time.Second, 61 * time.Second} {
		w.store.TouchToken(token.ID, noon.Add(after))
	}
	w.settled()
	got, err := w.store.TokenByHash(w.Context(), token.Hash)
	w.must(err)
	if want := noon.Add(time.Minute); got.LastUsedAt == nil || !got.LastUsedAt.Equal(want) {
		w.Errorf("last used %v, want %v", got.LastUsedAt, want)
	}
	w.store.TouchToken(token.ID, noon)
	w.settled()
	got, err = w.store.TokenByHash(w.Context(), token.Hash)
	w.must(err)
	if want := noon.Add(time.Minute); !got.LastUsedAt.Equal(want) {
		w.Errorf("an older use moved it back to %v", got.LastUsedAt)
	}
	w.store.TouchToken(12345, noon) // It may be deleted meanwhile.
	w.settled()
}

// settled returns when what was handed over before is committed.
func (w *world) settled() {
	w.Helper()
	w.accept(w.event(w.home))
}

func tokenRefused(w *world) {
	token := w.token(w.home, "taken")
	w.wants(hook.KindConflict, w.store.CreateToken(w.Context(), &hook.Token{Project: w.home.project, Name: "taken", Role: hook.RoleAdmin, Hash: [32]byte{1}}))
	w.wants(hook.KindInvalid, w.store.CreateToken(w.Context(), &hook.Token{Project: w.home.project, Name: "", Role: hook.RoleAdmin, Hash: [32]byte{2}}))
	w.wants(hook.KindInvalid, w.store.CreateToken(w.Context(), &hook.Token{Project: w.home.project, Name: "x", Role: "king", Hash: [32]byte{3}}))
	w.wants(hook.KindNotFound, w.store.CreateToken(w.Context(), &hook.Token{Project: 999, Name: "x", Role: hook.RoleAdmin, Hash: [32]byte{4}}))
	if err := w.store.CreateToken(w.Context(), &hook.Token{Project: w.home.project, Name: "same", Role: hook.RoleAdmin, Hash: token.Hash}); err == nil {
		w.Error("two tokens have one hash")
	}
}

func tokenIsolated(w *world) {
	token := w.token(w.other, "theirs")
	w.wants(hook.KindNotFound, w.store.DeleteToken(w.Context(), w.home.project, token.ID.String()))
	w.wants(hook.KindNotFound, w.store.DeleteToken(w.Context(), w.home.project, "theirs"))
	_, err := w.store.TokenByHash(w.Context(), token.Hash)
	w.must(err)
}

package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/seal"
	"malote.dev/malote/internal/store/sqlite"
)

// Keys describes the keys that seal the data that the settings name, the oldest first.
// It works beside a running server.
func Keys(settings config.Settings) ([]seal.Key, error) {
	path := filepath.Join(settings.Data, seal.FileName)
	keyring, err := seal.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hook.Errorf(hook.KindNotFound, "there is no key file %s: name the data folder with --data; the first start of a server fills it", path)
	}
	if err != nil {
		return nil, err
	}
	return keyring.Keys(), nil
}

// Rotation is what RotateKey did.
type Rotation struct {
	Key      seal.Key   `json:"key"`      // the new one
	Resealed int        `json:"resealed"` // specs that the new key sealed
	Retired  []seal.Key `json:"retired"`  // keys that were removed
}

// RotateKey replaces the key that seals the data that the settings name. No server may
// be using it: the error is store.ErrLocked then. Whenever it is interrupted, the data
// stays readable, and the next call does all that this one did not.
func RotateKey(ctx context.Context, settings config.Settings) (_ Rotation, err error) {
	if _, err := Keys(settings); err != nil {
		return Rotation{}, err
	}
	// With no database there is nothing to seal anew, but perhaps one to restore, which
	// needs its key.
	database := filepath.Join(settings.Data, sqlite.DatabaseFile)
	if _, err := os.Stat(database); errors.Is(err, fs.ErrNotExist) {
		return Rotation{}, hook.Errorf(hook.KindNotFound, "there is a key but no database %s: restore it first, or remove the key file", database)
	}
	store, err := sqlite.Open(ctx, sqlite.Options{Dir: settings.Data})
	if err != nil {
		return Rotation{}, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	r := &rotation{store: store, keyring: store.Keyring()}
	for _, step := range r.steps() {
		if err := step(ctx); err != nil {
			return Rotation{}, err
		}
	}
	return r.done, nil
}

// rotation is a rotation under way. The store holds the lock on the folder.
type rotation struct {
	store   *sqlite.Store
	keyring *seal.Keyring
	done    Rotation
}

// steps returns what is to be done. Each step is durable before the next one begins,
// and after each the key file holds every key that the database needs.
func (r *rotation) steps() []func(context.Context) error {
	return []func(context.Context) error{r.add, r.reseal, r.retire}
}

// add adds a new key beside the old ones.
func (r *rotation) add(context.Context) error {
	if err := r.keyring.Rotate(); err != nil {
		return fmt.Errorf("add a new key: %w", err)
	}
	keys := r.keyring.Keys()
	r.done.Key, r.done.Retired = keys[len(keys)-1], keys[:len(keys)-1]
	return nil
}

// reseal seals everything with the new key, in one commit.
func (r *rotation) reseal(ctx context.Context) error {
	var err error
	if r.done.Resealed, err = r.store.Reseal(ctx); err != nil {
		return fmt.Errorf("nothing was sealed anew, and the old key is kept; mend this (malote doctor says more), then rotate again: %w", err)
	}
	return nil
}

// retire removes the keys that the database does not need any more.
func (r *rotation) retire(context.Context) error {
	if err := r.keyring.Retire(); err != nil {
		return fmt.Errorf("everything is sealed with the new key, but the old one is not removed; rotate again to remove it: %w", err)
	}
	return nil
}

// Package seal keeps secrets unreadable at rest. A Keyring encrypts with
// XChaCha20-Poly1305 under keys that lie in a file of their own; each sealed text
// names its key, so that what is sealed already stays readable while keys are rotated,
// and is bound to a context, so that a sealed text moved elsewhere does not open.
//
// It protects a database or a backup that gets into foreign hands without the key
// file. It does not protect from somebody who can read both.
package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// FileName is the usual name of the key file inside the data folder.
const FileName = "secret.key"

// A sealed text is a format byte, the key's id, the nonce and the ciphertext.
const (
	formatByte = 1
	idSize     = 4
	headerSize = 1 + idSize + chacha20poly1305.NonceSizeX
)

// Errors that callers tell apart.
var (
	// ErrUnknownKey means that the text was sealed with a key that the file lacks.
	ErrUnknownKey = errors.New("sealed with a key that is not in the key file")
	// ErrForged means that the text or its context is not what was sealed.
	ErrForged = errors.New("the sealed data is damaged or belongs elsewhere")
	// ErrExposed means that others than its owner may read or write the key file.
	ErrExposed = errors.New("the key file is open to other users")
)

type keyID [idSize]byte

// Keyring holds the keys of one key file. It is safe for concurrent use.
type Keyring struct {
	path string

	mu   sync.RWMutex
	keys []key // as in the file, never none; the last one seals
}

// key is one line of a key file.
type key struct {
	id      keyID
	created time.Time // zero where the file does not say
	line    string
	aead    cipher.AEAD
}

// Key describes a key without giving it away.
type Key struct {
	ID        string    `json:"id"`                 // 8 hexadecimal digits, in each text that the key sealed
	CreatedAt time.Time `json:"createdAt,omitzero"` // zero when it is not known
	Current   bool      `json:"current"`            // seals; the others only unseal
}

// Open reads the key file and creates it, with a first key, when it is missing. A
// file that users other than its owner can reach is refused with ErrExposed.
func Open(path string) (*Keyring, error) {
	k, err := Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		k = &Keyring{path: path}
		err = k.Rotate()
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// Read is Open for a key file that must exist: without it the error is fs.ErrNotExist.
func Read(path string) (*Keyring, error) {
	text, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	return parse(path, text)
}

// Keys describes the keys, the oldest first.
func (k *Keyring) Keys() []Key {
	k.mu.RLock()
	defer k.mu.RUnlock()
	list := make([]Key, 0, len(k.keys))
	for i := range k.keys {
		each := &k.keys[i]
		list = append(list, Key{ID: hex.EncodeToString(each.id[:]), CreatedAt: each.created, Current: i == len(k.keys)-1})
	}
	return list
}

// Rotate adds a new key to the file and seals with it from now on. What was sealed
// before stays readable with the older keys. Whoever rotates holds the lock on the data
// folder: of two processes that write the file, one would lose its key.
func (k *Keyring) Rotate() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	added, err := newKey(k.keys, time.Now())
	if err != nil {
		return err
	}
	return k.replace(append(slices.Clone(k.keys), added))
}

// Retire removes all keys but the newest, which seals, from the file. What the others
// sealed can never be read again: before, all of it has to be sealed anew, durably.
// It also removes what a crash left of an unfinished key file.
func (k *Keyring) Retire() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.keys) > 1 {
		if err := k.replace(k.keys[len(k.keys)-1:]); err != nil {
			return err
		}
	}
	return removeUnfinished(k.path)
}

// replace writes the file and then takes its keys. The caller holds the lock.
func (k *Keyring) replace(keys []key) error {
	if err := writeKeyFile(k.path, keys); err != nil {
		return err
	}
	k.keys = keys
	return nil
}

// find returns the key with an id, nil when there is none.
func (k *Keyring) find(id keyID) cipher.AEAD {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for i := range k.keys {
		if k.keys[i].id == id {
			return k.keys[i].aead
		}
	}
	return nil
}

// newest returns the key that seals.
func (k *Keyring) newest() key {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys[len(k.keys)-1]
}

// Seal encrypts plain and binds it to context, which Unseal must be given again.
func (k *Keyring) Seal(plain, context []byte) []byte {
	newest := k.newest()
	sealed := make([]byte, headerSize, headerSize+len(plain)+chacha20poly1305.Overhead)
	sealed[0] = formatByte
	copy(sealed[1:], newest.id[:])
	nonce := sealed[1+idSize : headerSize]
	fill(nonce)
	return newest.aead.Seal(sealed, nonce, plain, bound(sealed[:1+idSize], context))
}

// Unseal returns what Seal was given. It fails with ErrUnknownKey or ErrForged.
func (k *Keyring) Unseal(sealed, context []byte) ([]byte, error) {
	if len(sealed) < headerSize+chacha20poly1305.Overhead || sealed[0] != formatByte {
		return nil, fmt.Errorf("%w: it is not in the sealed form", ErrForged)
	}
	id := keyID(sealed[1 : 1+idSize])
	aead := k.find(id)
	if aead == nil {
		return nil, fmt.Errorf("%w: key %x, file %s", ErrUnknownKey, id, k.path)
	}
	plain, err := aead.Open(nil, sealed[1+idSize:headerSize], sealed[headerSize:], bound(sealed[:1+idSize], context))
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}

// Current reports whether the newest key sealed this, going by the id that it names:
// Retire would leave it readable.
func (k *Keyring) Current(sealed []byte) bool {
	newest := k.newest()
	return len(sealed) > idSize && sealed[0] == formatByte && keyID(sealed[1:1+idSize]) == newest.id
}

// bound is the additional data: the format and key id, so that they cannot be
// exchanged, and the context, its length first so that the parts stay apart.
func bound(head, context []byte) []byte {
	data := binary.BigEndian.AppendUint32(append([]byte(nil), head...), uint32(len(context)))
	return append(data, context...)
}

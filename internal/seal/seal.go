// Package seal keeps secrets unreadable at rest. A Keyring encrypts with
// XChaCha20-Poly1305 under keys that lie in a file of their own; each sealed text
// names its key, so that keys can be rotated without touching what is sealed already,
// and is bound to a context, so that a sealed text moved elsewhere does not open.
//
// It protects a database or a backup that gets into foreign hands without the key
// file. It does not protect from somebody who can read both.
package seal

import (
	"bufio"
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

// FileName is the usual name of the key file inside the data folder.
const FileName = "secret.key"

// fileMode is the only mode that a key file has: its owner's alone.
const fileMode fs.FileMode = 0o600

// A sealed text is a format byte, the key's id, the nonce and the ciphertext.
const (
	formatByte = 1
	idSize     = 4
	headerSize = 1 + idSize + chacha20poly1305.NonceSizeX
	// maxKeyFile bounds what is read as a key file: room for hundreds of rotations.
	maxKeyFile = 64 << 10
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

	mu      sync.RWMutex
	lines   []string // of the file, in order, without comments
	keys    map[keyID]cipher.AEAD
	current keyID // seals; the last one of the file
}

// Open reads the key file and creates it, with a first key, when it is missing. A
// file that users other than its owner can reach is refused with ErrExposed.
func Open(path string) (*Keyring, error) {
	text, err := readKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		k := &Keyring{path: path, keys: map[keyID]cipher.AEAD{}}
		if err := k.Rotate(); err != nil {
			return nil, err
		}
		return k, nil
	}
	if err != nil {
		return nil, err
	}
	return parse(path, text)
}

func readKeyFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return nil, fmt.Errorf("key file %s: it is not a file of at most %d bytes", path, maxKeyFile)
	}
	if mode := info.Mode().Perm(); mode&^fileMode != 0 {
		return nil, fmt.Errorf("key file %s has mode %04o: %w; run: chmod 600 %s", path, mode, ErrExposed, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return text, nil
}

// parse reads the lines "id key" of a key file, both base16 and base64.
func parse(path string, text []byte) (*Keyring, error) {
	k := &Keyring{path: path, keys: map[keyID]cipher.AEAD{}}
	scanner := bufio.NewScanner(bytes.NewReader(text))
	for number := 1; scanner.Scan(); number++ {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, aead, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("key file %s, line %d: %w", path, number, err)
		}
		k.keys[id], k.current = aead, id
		k.lines = append(k.lines, line)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("key file %s holds no key; restore it from a backup", path)
	}
	return k, nil
}

func parseLine(line string) (keyID, cipher.AEAD, error) {
	var id keyID
	idText, keyText, ok := strings.Cut(line, " ")
	if !ok || len(idText) != hex.EncodedLen(idSize) {
		return id, nil, fmt.Errorf("a line is an id of %d hexadecimal digits, a space and a key", hex.EncodedLen(idSize))
	}
	if _, err := hex.Decode(id[:], []byte(idText)); err != nil {
		return id, nil, fmt.Errorf("the id %q is not hexadecimal", idText)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keyText))
	if err != nil || len(key) != chacha20poly1305.KeySize {
		return id, nil, fmt.Errorf("the key is not %d bytes in base64", chacha20poly1305.KeySize)
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return id, nil, fmt.Errorf("the key does not work: %w", err)
	}
	return id, aead, nil
}

// Rotate adds a new key to the file and seals with it from now on. What was sealed
// before stays readable with the older keys.
func (k *Keyring) Rotate() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	id, key := newKeyID(k.keys), make([]byte, chacha20poly1305.KeySize)
	fill(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	lines := append(append([]string(nil), k.lines...), hex.EncodeToString(id[:])+" "+base64.StdEncoding.EncodeToString(key))
	if err := writeKeyFile(k.path, lines); err != nil {
		return err
	}
	k.lines, k.keys[id], k.current = lines, aead, id
	return nil
}

func newKeyID(taken map[keyID]cipher.AEAD) keyID {
	for {
		var id keyID
		fill(id[:])
		if _, exists := taken[id]; !exists {
			return id
		}
	}
}

// fill reads random bytes; crypto/rand.Read never fails (Go 1.24 and later).
func fill(b []byte) {
	_, _ = rand.Read(b)
}

// writeKeyFile replaces the file as a whole, so that a crash leaves the old or the
// new one, never half of it.
func writeKeyFile(path string, lines []string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // CreateTemp makes it 0600.
	if err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write the key file: %w", err), os.Remove(file.Name()))
		}
	}()
	const head = "# The keys that seal malote's secrets, the newest last.\n# Back this file up apart from the database: without it the secrets are lost.\n"
	if _, err = file.WriteString(head + strings.Join(lines, "\n") + "\n"); err != nil {
		return errors.Join(err, file.Close())
	}
	if err = file.Sync(); err != nil {
		return errors.Join(err, file.Close())
	}
	if err = file.Close(); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Seal encrypts plain and binds it to context, which Unseal must be given again.
func (k *Keyring) Seal(plain, context []byte) []byte {
	k.mu.RLock()
	id, aead := k.current, k.keys[k.current]
	k.mu.RUnlock()
	sealed := make([]byte, headerSize, headerSize+len(plain)+chacha20poly1305.Overhead)
	sealed[0] = formatByte
	copy(sealed[1:], id[:])
	nonce := sealed[1+idSize : headerSize]
	fill(nonce)
	return aead.Seal(sealed, nonce, plain, bound(sealed[:1+idSize], context))
}

// Unseal returns what Seal was given. It fails with ErrUnknownKey or ErrForged.
func (k *Keyring) Unseal(sealed, context []byte) ([]byte, error) {
	if len(sealed) < headerSize+chacha20poly1305.Overhead || sealed[0] != formatByte {
		return nil, fmt.Errorf("%w: it is not in the sealed form", ErrForged)
	}
	id := keyID(sealed[1 : 1+idSize])
	k.mu.RLock()
	aead := k.keys[id]
	k.mu.RUnlock()
	if aead == nil {
		return nil, fmt.Errorf("%w: key %x, file %s", ErrUnknownKey, id, k.path)
	}
	plain, err := aead.Open(nil, sealed[1+idSize:headerSize], sealed[headerSize:], bound(sealed[:1+idSize], context))
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}

// bound is the additional data: the format and key id, so that they cannot be
// exchanged, and the context, its length first so that the parts stay apart.
func bound(head, context []byte) []byte {
	data := binary.BigEndian.AppendUint32(append([]byte(nil), head...), uint32(len(context)))
	return append(data, context...)
}

package seal

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// fileMode is the only mode that a key file has: its owner's alone.
const fileMode fs.FileMode = 0o600

// maxKeyFile bounds what is read as a key file: room for hundreds of keys.
const maxKeyFile = 64 << 10

// unfinished stands between the name of a key file and a random text in the name of
// the file that is to replace it.
const unfinished = ".new-"

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

// parse reads the lines "id key created" of a key file: base16, base64 and RFC 3339.
// Keys of which nobody noted when they were made have no third field.
func parse(path string, text []byte) (*Keyring, error) {
	k := &Keyring{path: path}
	scanner := bufio.NewScanner(bytes.NewReader(text))
	for number := 1; scanner.Scan(); number++ {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parsed, err := parseLine(line)
		if err == nil && k.find(parsed.id) != nil {
			err = fmt.Errorf("the id %x is there twice", parsed.id)
		}
		if err != nil {
			return nil, fmt.Errorf("key file %s, line %d: %w", path, number, err)
		}
		k.keys = append(k.keys, parsed)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	if len(k.keys) == 0 {
		return nil, fmt.Errorf("key file %s holds no key; restore it from a backup", path)
	}
	return k, nil
}

func parseLine(line string) (key, error) {
	parsed := key{line: line}
	fields := strings.Fields(line)
	if len(fields) < 2 || len(fields) > 3 || len(fields[0]) != hex.EncodedLen(idSize) {
		return parsed, fmt.Errorf("a line is an id of %d hexadecimal digits, a key, and perhaps a time, with spaces between", hex.EncodedLen(idSize))
	}
	if _, err := hex.Decode(parsed.id[:], []byte(fields[0])); err != nil {
		return parsed, fmt.Errorf("the id %q is not hexadecimal", fields[0])
	}
	bits, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil || len(bits) != chacha20poly1305.KeySize {
		return parsed, fmt.Errorf("the key is not %d bytes in base64", chacha20poly1305.KeySize)
	}
	if len(fields) == 3 {
		if parsed.created, err = time.Parse(time.RFC3339, fields[2]); err != nil {
			return parsed, errors.New("what follows the key is not a time such as 2006-01-02T15:04:05Z")
		}
	}
	if parsed.aead, err = chacha20poly1305.NewX(bits); err != nil {
		return parsed, fmt.Errorf("the key does not work: %w", err)
	}
	return parsed, nil
}

// newKey makes a key whose id none of the others has.
func newKey(others []key, now time.Time) (key, error) {
	var id keyID
	for taken := true; taken; {
		fill(id[:])
		taken = false
		for i := range others {
			taken = taken || others[i].id == id
		}
	}
	bits := make([]byte, chacha20poly1305.KeySize)
	fill(bits)
	// One parser for what is made and what is read: a line that could not be read again
	// is noticed before anything is sealed with its key.
	made, err := parseLine(hex.EncodeToString(id[:]) + " " + base64.StdEncoding.EncodeToString(bits) + " " + now.UTC().Format(time.RFC3339))
	if err != nil {
		return made, fmt.Errorf("make a key: %w", err)
	}
	return made, nil
}

// fill reads random bytes; crypto/rand.Read never fails (Go 1.24 and later).
func fill(b []byte) {
	_, _ = rand.Read(b)
}

// writeKeyFile replaces the file as a whole, so that a crash leaves the old or the
// new one, never half of it.
func writeKeyFile(path string, keys []key) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+unfinished+"*") // CreateTemp makes it 0600.
	if err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	renamed := false
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the key file: %w", err)
			if !renamed {
				err = errors.Join(err, os.Remove(file.Name()))
			}
		}
	}()
	var text strings.Builder
	text.WriteString("# The keys that seal malote's secrets, the newest last.\n# Back this file up apart from the database: without it the secrets are lost.\n")
	for i := range keys {
		text.WriteString(keys[i].line + "\n")
	}
	if _, err = file.WriteString(text.String()); err != nil {
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
	renamed = true
	return syncDir(filepath.Dir(path))
}

// removeUnfinished removes what crashes left of key files that were being written:
// they hold keys.
func removeUnfinished(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("look for unfinished key files: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), filepath.Base(path)+unfinished) {
			continue
		}
		if err := os.Remove(filepath.Join(filepath.Dir(path), entry.Name())); err != nil {
			return fmt.Errorf("remove an unfinished key file: %w", err)
		}
	}
	return nil
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

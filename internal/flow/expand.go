package flow

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxSecretFile is how long a secret file may be, in bytes.
const maxSecretFile = 64 << 10

// expander puts values in the place of ${NAME} and ${file:/path}. "$${" stands for a
// plain "${".
type expander struct {
	lookup func(name string) (string, bool)
	folder string // that relative paths start from
}

func (e *expander) expand(text string) (string, error) {
	var b strings.Builder
	for {
		open := strings.Index(text, "${")
		if open < 0 {
			b.WriteString(text)
			return b.String(), nil
		}
		if open > 0 && text[open-1] == '$' {
			b.WriteString(text[:open-1] + "${")
			text = text[open+2:]
			continue
		}
		b.WriteString(text[:open])
		name, rest, closed := strings.Cut(text[open+2:], "}")
		if !closed {
			return "", errors.New("\"${\" has no \"}\": write ${NAME} for a variable, ${file:/path} for a file, or $${ for the two characters themselves")
		}
		value, err := e.value(name)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
		text = rest
	}
}

func (e *expander) value(name string) (string, error) {
	if path, ok := strings.CutPrefix(name, "file:"); ok {
		return e.file(path)
	}
	if !isVariable(name) {
		return "", fmt.Errorf("${%s} is not a reference: write ${NAME} with letters, digits and underscores, ${file:/path}, "+
			"or $${ for the two characters themselves", name)
	}
	value, ok := e.lookup(name)
	if !ok {
		return "", fmt.Errorf("the environment variable %s is not set: set it, or write ${file:/path} to read the value from a file", name)
	}
	if value == "" {
		return "", fmt.Errorf("the environment variable %s is empty: give it a value", name)
	}
	return value, nil
}

func isVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		digit := c >= '0' && c <= '9'
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (!digit || i == 0) {
			return false
		}
	}
	return name != ""
}

// file returns a secret file's text without the line end that editors put last.
func (e *expander) file(path string) (string, error) {
	if path == "" {
		return "", errors.New("${file:} names no file: write ${file:/path}")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(e.folder, path)
	}
	data, err := readCapped(path, maxSecretFile+1)
	switch cause := (*fs.PathError)(nil); {
	case errors.As(err, &cause):
		return "", fmt.Errorf("the secret file %s cannot be read: %w", path, cause.Err)
	case err != nil:
		return "", fmt.Errorf("the secret file %s cannot be read: %w", path, err)
	case len(data) > maxSecretFile:
		return "", fmt.Errorf("the secret file %s is longer than the %d bytes that are read", path, maxSecretFile)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if text == "" {
		return "", fmt.Errorf("the secret file %s is empty", path)
	}
	return text, nil
}

func readCapped(name string, limit int64) (data []byte, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return io.ReadAll(io.LimitReader(file, limit))
}

// escape is the opposite of expand for texts without references.
func escape(text string) string { return strings.ReplaceAll(text, "${", "$${") }

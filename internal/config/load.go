package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// defaultFile is the configuration file that is read when it exists and none is named.
const defaultFile = "malote.yaml"

// Input is where settings come from. A flag wins over the environment, the
// environment over the file, the file over the default.
type Input struct {
	Flags     map[string][]string               // by key, only those that were given
	LookupEnv func(name string) (string, bool)  // os.LookupEnv
	ReadFile  func(name string) ([]byte, error) // os.ReadFile
}

// Origins says for each key where its value came from: "flag --listen", "MALOTE_DATA",
// "malote.yaml:3", or "default".
type Origins map[string]string

// Load returns the effective settings and where each came from. The error is of
// kind hook.KindInvalid and lists everything that is wrong, with its place.
func Load(input Input) (Settings, Origins, error) {
	l := &loader{Input: input, settings: Default(), origins: Origins{}}
	for _, field := range Fields() {
		l.origins[field.Key] = "default"
	}
	l.readFile()
	l.readEnv()
	l.readFlags()
	if len(l.problems) == 0 {
		l.validate()
	}
	return l.settings, l.origins, hook.Invalid("these settings cannot be used", l.problems)
}

type loader struct {
	Input

	settings Settings
	origins  Origins
	problems []hook.Problem
}

func (l *loader) set(field *Field, origin string, texts ...string) {
	if err := field.Set(&l.settings, texts...); err != nil {
		l.problems = append(l.problems, hook.Problem{Path: origin, Message: err.Error()})
		return
	}
	l.origins[field.Key] = origin
}

// readEnv takes the variables of all settings. One that is set but empty counts as unset.
func (l *loader) readEnv() {
	for _, field := range Fields() {
		text, ok := l.LookupEnv(field.Env)
		if !ok || text == "" {
			continue
		}
		l.set(&field, field.Env, split(&field, text)...)
	}
}

func split(field *Field, text string) []string {
	if !field.List {
		return []string{text}
	}
	var values []string
	for value := range strings.SplitSeq(text, ",") {
		if value = strings.TrimSpace(value); value != "" {
			values = append(values, value)
		}
	}
	return values
}

func (l *loader) readFlags() {
	for _, field := range Fields() {
		texts, ok := l.Flags[field.Key]
		if !ok {
			continue
		}
		values := make([]string, 0, len(texts))
		for _, text := range texts {
			values = append(values, split(&field, text)...)
		}
		l.set(&field, "flag --"+field.Key, values...)
	}
}

// fileName returns the configuration file to read and whether it was asked for.
func (l *loader) fileName() (name string, named bool) {
	if texts := l.Flags["config"]; len(texts) > 0 {
		return texts[len(texts)-1], true
	}
	if text, ok := l.LookupEnv("MALOTE_CONFIG"); ok && text != "" {
		return text, true
	}
	return defaultFile, false
}

func (l *loader) readFile() {
	name, named := l.fileName()
	data, err := l.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return
	case err != nil:
		l.problems = append(l.problems, hook.Problem{Path: name, Message: fmt.Sprintf("the configuration file cannot be read: %s", cause(err))})
		return
	}
	l.settings.ConfigFile, l.origins["config"] = name, "found here"
	decoder := &strict.Decoder{}
	for _, document := range decoder.Documents(name, data) {
		for _, entry := range decoder.Mapping(name, "", document) {
			l.fromFile(decoder, name, entry)
		}
	}
	for _, problem := range decoder.Problems().Sorted() {
		l.problems = append(l.problems, hook.Problem{Path: problem.String(), Message: problem.Message})
	}
}

// fromFile sets one setting from its entry in the file.
func (l *loader) fromFile(decoder *strict.Decoder, name string, entry strict.Entry) {
	field, ok := findField(entry.Name)
	if !ok {
		decoder.Addf(entry.At, "unknown setting %q%s", entry.Name, strict.Suggest(entry.Name, keys(Fields())))
		return
	}
	if field.Key == "config" {
		decoder.Addf(entry.At, "a configuration file cannot name another one: remove the key")
		return
	}
	before := len(decoder.Problems())
	texts := fileTexts(decoder, name, &field, entry.Value)
	if len(decoder.Problems()) > before {
		return
	}
	if err := field.Set(&l.settings, texts...); err != nil {
		decoder.Addf(entry.At, "%s: %s", field.Key, err)
		return
	}
	l.origins[field.Key] = fmt.Sprintf("%s:%d", name, entry.At.Line)
}

// fileTexts reads a setting's value; a list of one may be written as a plain text.
func fileTexts(decoder *strict.Decoder, name string, field *Field, node *yaml.Node) []string {
	var texts []string
	var text string
	var on bool
	switch {
	case field.List && node.Kind == yaml.SequenceNode:
		decoder.Decode(name, field.Key, node, &texts)
		return texts
	case field.Switch:
		decoder.Decode(name, field.Key, node, &on)
		return []string{strconv.FormatBool(on)}
	default:
		decoder.Decode(name, field.Key, node, &text)
		return []string{text}
	}
}

// cause returns an error's text without the file name, which is shown already.
func cause(err error) string {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

func (l *loader) validate() {
	err := (*hook.Error)(nil)
	if !errors.As(l.settings.Validate(), &err) {
		return
	}
	for _, problem := range err.Problems {
		if origin := l.origins[problem.Path]; origin != "default" {
			problem.Path += " (" + origin + ")"
		}
		l.problems = append(l.problems, problem)
	}
}

package flow

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

// State is what a flow wants to be there: the parts by name. Its JSON form is what
// the API takes.
type State struct {
	Sources      map[string]hook.SourceSpec      `json:"sources,omitempty"`
	Destinations map[string]hook.DestinationSpec `json:"destinations,omitempty"`
	Connections  map[string]ConnectionSpec       `json:"connections,omitempty"`
}

// ConnectionSpec is a connection with its two ends by name.
type ConnectionSpec struct {
	From string `json:"from"` // name of the source
	To   string `json:"to"`   // name of the destination
	hook.ConnectionSpec
}

// File is one flow file.
type File struct {
	Name string // for messages; paths inside are relative to its folder
	Data []byte
}

// maxFiles is how many files a folder may hold.
const maxFiles = 1000

// ReadFiles reads a flow file, or the *.yaml and *.yml files of a folder in the order
// of their names.
func ReadFiles(path string) ([]File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	names := []string{path}
	if info.IsDir() {
		if names, err = listFolder(path); err != nil {
			return nil, err
		}
	}
	files := make([]File, 0, len(names))
	for _, name := range names {
		data, err := readCapped(name, strict.MaxBytes+1) // the parser explains what is too long
		if err != nil {
			return nil, unreadable(name, err)
		}
		files = append(files, File{Name: name, Data: data})
	}
	return files, nil
}

func listFolder(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	var names []string
	for _, entry := range entries {
		extension := filepath.Ext(entry.Name())
		if !entry.IsDir() && (extension == ".yaml" || extension == ".yml") && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, filepath.Join(path, entry.Name()))
		}
	}
	switch {
	case len(names) == 0:
		return nil, hook.Errorf(hook.KindInvalid, "the folder %s holds no flow files: their names end in .yaml or .yml", path)
	case len(names) > maxFiles:
		return nil, hook.Errorf(hook.KindInvalid, "the folder %s holds %d flow files: %d is the most", path, len(names), maxFiles)
	}
	return names, nil
}

func unreadable(path string, err error) error {
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		err = cause.Err
	}
	return hook.Errorf(hook.KindInvalid, "the flow %s cannot be read: %w", path, err)
}

// Flow is a parsed flow that has no mistakes of its own.
type Flow struct {
	state   State
	decoder *strict.Decoder
}

// State returns what the flow wants to be there, secrets included.
func (f *Flow) State() State { return f.state }

// Plan returns the changes that make the project's part of the catalogue what the
// flow says. What the flow does not mention is deleted only when prune is set.
func (f *Flow) Plan(project hook.ProjectID, catalogue hook.Catalogue, prune bool) (*Plan, error) {
	plan, err := PlanState(project, catalogue, f.state, prune)
	return plan, f.Locate(err)
}

// Locate replaces the paths of an error's problems, such as "destinations.erp.http.url",
// by their places in the files. It serves errors of a server that was given State.
func (f *Flow) Locate(err error) error {
	invalid := (*hook.Error)(nil)
	if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
		return err
	}
	located := make(strict.Problems, 0, len(invalid.Problems))
	for _, problem := range invalid.Problems {
		at, ok := f.decoder.At(problem.Path)
		message := subject(problem)
		if !ok {
			at.File, message = problem.Path, problem.Message
		}
		located = append(located, strict.Problem{Position: at, Message: message})
	}
	return &hook.Error{Kind: invalid.Kind, Message: invalid.Message, Problems: problems(located), Err: invalid.Err}
}

// subject is a problem's message with the path in front, which a line number alone does not tell.
func subject(problem hook.Problem) string {
	if problem.Path == "" {
		return problem.Message
	}
	return problem.Path + ": " + problem.Message
}

// maxProblems is how many mistakes are shown at once; a person mends the first ones first.
const maxProblems = 50

func problems(list strict.Problems) []hook.Problem {
	shown := make([]hook.Problem, 0, min(len(list), maxProblems+1))
	for i, problem := range list.Sorted() {
		if i == maxProblems {
			return append(shown, hook.Problem{Message: fmt.Sprintf("and %d more problems", len(list)-i)})
		}
		shown = append(shown, hook.Problem{Path: problem.String(), Message: problem.Message})
	}
	return shown
}

// names returns the keys of a map in order.
func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

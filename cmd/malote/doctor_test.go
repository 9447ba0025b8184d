package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"malote.dev/malote/internal/app"
	"malote.dev/malote/internal/config"
)

func TestExamineFiles(t *testing.T) {
	folder := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	look := func(settings config.Settings) string {
		t.Helper()
		findings, err := examineFiles(t.Context(), &settings)
		if err != nil {
			t.Fatal(err)
		}
		lines := make([]string, 0, len(findings))
		for _, each := range findings {
			lines = append(lines, strings.TrimSpace(each.Level+" "+each.Check+": "+each.Detail+"; "+each.Mend))
		}
		return strings.ReplaceAll(strings.Join(lines, "\n"), folder, "DIR")
	}
	if got, want := look(config.Settings{Data: filepath.Join(folder, "none")}), "note data: DIR/none is not there yet: the first start creates it;"; got != want {
		t.Errorf("got %s", got)
	}
	file := write("flow.yaml", "sources: {a: {provder: x}}")
	profiles, empty := filepath.Join(folder, "profiles"), filepath.Join(folder, "empty")
	for _, name := range []string{profiles, empty} {
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got := look(config.Settings{Data: empty, Flows: file, Profiles: profiles, TLSCert: file, TLSKey: file})
	for _, want := range []string{
		"fine profiles: ", ", those of DIR/profiles included",
		`problem flows: the flow has mistakes: DIR/flow.yaml:1:15: unknown key "provder" in sources.a; did you mean "provider"?`,
		"problem certificate: ", "fine data: DIR/empty has ", "it is not in use", "note data: there is no database yet",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the findings lack %q:\n%s", want, got)
		}
	}
	if _, err := examineFiles(t.Context(), &config.Settings{Data: file}); err == nil || !strings.Contains(err.Error(), "is not a folder") {
		t.Errorf("got %v", err)
	}
}

// The doctor works beside a running server, after it, and sees what is wrong.
func TestDoctorOfAServer(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	x := &terminal{t: t, examine: examineFiles, env: map[string]string{"MALOTE_SERVER": "http://127.0.0.1:1"}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	listening := make(chan struct{})
	served := make(chan error, 1)
	settings := config.Default()
	settings.Data, settings.Listen = folder, "127.0.0.1:0"
	go func() {
		served <- app.Run(ctx, settings, app.Options{Out: notify{listening}, Log: io.Discard})
	}()
	select {
	case <-listening:
	case err := <-served:
		t.Fatalf("the server ended: %v", err)
	}
	if got := x.run("doctor", "--data", folder); got.code != 0 || !strings.Contains(got.out, "in use by a running server") {
		t.Errorf("beside a server: %+v", got)
	}
	stop()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if got := x.run("doctor", "--data", folder); got.code != 0 || !strings.Contains(got.out, "it is not in use") {
		t.Errorf("after a server: %+v", got)
	}
	if err := os.Remove(filepath.Join(folder, "secret.key")); err != nil {
		t.Fatal(err)
	}
	if got := x.run("doctor", "--data", folder); got.code != exitFailed || !strings.Contains(got.out, "problem  data: the key file secret.key is missing") {
		t.Errorf("without the key: %+v", got)
	}
}

// notify closes its channel when it is first written to.
type notify struct{ written chan struct{} }

func (n notify) Write(p []byte) (int, error) {
	select {
	case <-n.written:
	default:
		close(n.written)
	}
	return len(p), nil
}

// Findings that are mended alike say how once.
func TestDoctorSaysOnceHowToMend(t *testing.T) {
	x := &terminal{t: t, env: map[string]string{"MALOTE_SERVER": "http://127.0.0.1:1"}, examine: func(context.Context, *config.Settings) ([]finding, error) {
		return []finding{
			{Check: "data", Level: levelProblem, Detail: "page 1", Mend: "restore it"},
			{Check: "data", Level: levelProblem, Detail: "page 2", Mend: "restore it"},
			{Check: "data", Level: levelWarning, Detail: "no space", Mend: "free some"},
		}, nil
	}}
	got := x.run("doctor")
	want := "problem  data: page 1\nproblem  data: page 2\n         restore it\nwarning  data: no space\n         free some\n"
	if got.code != exitFailed || !strings.Contains(got.out, want) {
		t.Errorf("%d\n%s", got.code, got.out)
	}
}

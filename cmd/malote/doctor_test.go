package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/seal"
)

func TestExamineFiles(t *testing.T) {
	folder := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
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
	if got, want := look(config.Settings{Data: filepath.Join(folder, "none")}), "note data folder: DIR/none is not there yet: the first start creates it;"; got != want {
		t.Errorf("got %s", got)
	}
	if got, want := look(config.Settings{Data: folder}), "fine data folder: DIR is there;"; got != want {
		t.Errorf("got %s", got)
	}
	write("malote.db", "", 0o600)
	write(adminToken, "mlt_x", 0o644)
	if got, want := look(config.Settings{Data: folder}), "fine data folder: DIR is there;\n"+
		"fault key file: DIR/secret.key is missing; without it no secret in the database can be read: restore it from a backup\n"+
		"fault admin token: DIR/admin-token can be read by others (mode 0644); chmod 600 DIR/admin-token"; got != want {
		t.Errorf("got %s", got)
	}
	write(seal.FileName, "key", 0o600)
	file := write("flow.yaml", "sources: {a: {provder: x}}", 0o600)
	profiles := filepath.Join(folder, "profiles")
	if err := os.Mkdir(profiles, 0o700); err != nil {
		t.Fatal(err)
	}
	got := look(config.Settings{Data: folder, Flows: file, Profiles: profiles, TLSCert: file, TLSKey: file})
	for _, want := range []string{
		"fine profiles: ", ", those of DIR/profiles included",
		`fault flows: the flow has mistakes: DIR/flow.yaml:1:15: unknown key "provder" in sources.a; did you mean "provider"?`,
		"fault certificate: ", "fine key file: DIR/secret.key is its owner's alone",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the findings lack %q:\n%s", want, got)
		}
	}
	if got := look(config.Settings{Data: file}); got != "fault data folder: DIR/flow.yaml is not a folder;" {
		t.Errorf("got %s", got)
	}
}

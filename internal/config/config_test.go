package config

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"malote.dev/malote/internal/hook"
)

var update = flag.Bool("update", false, "write the generated files")

// input returns an Input over a map of variables and a map of files.
func input(flags map[string][]string, env, files map[string]string) Input {
	return Input{
		Flags: flags,
		LookupEnv: func(name string) (string, bool) {
			value, ok := env[name]
			return value, ok
		},
		ReadFile: func(name string) ([]byte, error) {
			text, ok := files[name]
			if !ok {
				return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
			return []byte(text), nil
		},
	}
}

func TestDefault(t *testing.T) {
	settings, origins, err := Load(input(nil, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), settings); diff != "" {
		t.Error(diff)
	}
	if settings.Data != "./malote-data" || settings.Listen != "127.0.0.1:8420" || settings.MaxBody != 10<<20 || !settings.Metrics ||
		settings.ShutdownGrace != hook.Duration(20*time.Second) {
		t.Errorf("got %+v", settings)
	}
	for key, origin := range origins {
		if origin != "default" {
			t.Errorf("%s comes from %s", key, origin)
		}
	}
}

// A flag wins over a variable, a variable over the file, the file over the default.
func TestLoadPrecedence(t *testing.T) {
	settings, origins, err := Load(input(
		map[string][]string{"listen": {":1"}, "allow-private": {"10.0.0.0/8", "127.0.0.1/32:9000,::1/128"}},
		map[string]string{"MALOTE_LISTEN": ":2", "MALOTE_DATA": "/env", "MALOTE_TRUSTED_PROXIES": "10.0.0.1, 10.0.1.0/24", "MALOTE_METRICS": "", "MALOTE_TOKEN": "t0p"},
		map[string]string{"malote.yaml": "# settings\nlisten: :3\ndata: /file\nlog-level: debug\nmetrics: false\nmax-body: 1048576\nretention-sweep: 1m\nallow-private:\n  - 172.16.0.0/12\n"},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.ConfigFile, want.Listen, want.Data, want.LogLevel, want.Metrics, want.MaxBody = "malote.yaml", ":1", "/env", "debug", false, 1<<20
	want.RetentionSweep, want.Token = hook.Duration(time.Minute), "t0p"
	want.AllowPrivate = []string{"10.0.0.0/8", "127.0.0.1/32:9000", "::1/128"}
	want.TrustedProxies = []string{"10.0.0.1", "10.0.1.0/24"}
	if diff := cmp.Diff(want, settings); diff != "" {
		t.Error(diff)
	}
	for key, want := range map[string]string{
		"listen": "flag --listen", "data": "MALOTE_DATA", "log-level": "malote.yaml:4", "metrics": "malote.yaml:5",
		"allow-private": "flag --allow-private", "database": "default", "config": "found here",
	} {
		if origins[key] != want {
			t.Errorf("%s comes from %q, want %q", key, origins[key], want)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags map[string][]string
		env   map[string]string
		file  string
		want  string
	}{
		{"unknown key", nil, nil, "listen: :1\nlisten-on: :2", `malote.yaml:2:1: unknown setting "listen-on"; did you mean "listen"?`},
		{"nothing near", nil, nil, "zzzzzzzzz: 1", `malote.yaml:1:1: unknown setting "zzzzzzzzz"; known are: allow-private, client-ca, config, data, database, flows, listen, log-format, log-level, max-body, metrics, profiles, profiling, public-url, retention-sweep, server, shutdown-grace, tls-cert, tls-key, token, …`},
		{"twice", nil, nil, "data: a\ndata: b", `malote.yaml:2:1: the key "data" occurs twice: it stands in line 1 already`},
		{"kind", nil, nil, "listen: [a]", `malote.yaml:1:9: listen must be a text, not a list`},
		{"switch", nil, nil, "metrics: maybe", `malote.yaml:1:10: metrics must be true or false, not "maybe"`},
		{"no mapping", nil, nil, "- a", `malote.yaml:1:1: the file must be a mapping of names to values, not a list`},
		{"value in file", nil, nil, "max-body: big", `malote.yaml:1:1: max-body: "big" is not a size: write a number and a unit, such as 512KiB, 10MiB or 1048576`},
		{"nested config", nil, nil, "config: other.yaml", `malote.yaml:1:1: a configuration file cannot name another one: remove the key`},
		{"no file", map[string][]string{"config": {"other.yaml"}}, nil, "", `other.yaml: the configuration file cannot be read: file does not exist`},
		{"no file in variable", nil, map[string]string{"MALOTE_CONFIG": "gone.yaml"}, "", `gone.yaml: the configuration file cannot be read: file does not exist`},
		{"variable", nil, map[string]string{"MALOTE_METRICS": "perhaps"}, "", `MALOTE_METRICS: "perhaps" is neither true nor false`},
		{"flag", map[string][]string{"shutdown-grace": {"soon"}}, nil, "", `flag --shutdown-grace: "soon" is not a duration: write a number and a unit, such as 5s, 10m, 2h or 30d`},
		{"postgres", nil, map[string]string{"MALOTE_DATABASE": "postgres://u:p@h/db"}, "", `database (MALOTE_DATABASE): PostgreSQL is not available in this version: leave it out to use the embedded SQLite database`},
		{"other database", map[string][]string{"database": {"mysql://h"}}, nil, "", `database (flag --database): "mysql" is not a database that is known: write sqlite`},
		{"sqlite path", map[string][]string{"database": {"sqlite:/x.db"}}, nil, "", `database (flag --database): the SQLite database lies in the data folder: write sqlite, and set data to move it`},
		{"address", nil, nil, "listen: localhost", `listen (malote.yaml:1): "localhost" is not an address to listen on: write HOST:PORT, such as 127.0.0.1:8420 or :8420`},
		{"port", nil, nil, "listen: ':70000'", `listen (malote.yaml:1): ":70000" is not an address to listen on: write HOST:PORT, such as 127.0.0.1:8420 or :8420`},
		{"range", nil, nil, "allow-private: 10.0.0.1/8:80", `allow-private (malote.yaml:1): allowed range "10.0.0.1/8:80": the address has bits beyond its length; the range is 10.0.0.0/8; write CIDR or CIDR:PORT, such as 10.0.0.0/8, 127.0.0.1:9000 or [fd00::/8]:443`},
		{"proxies", nil, nil, "trusted-proxies: [lan]", `trusted-proxies (malote.yaml:1): "lan" is not a range of addresses: write a CIDR such as 10.0.0.0/8, or one address`},
		{"public url", nil, nil, "public-url: hooks.example.com", `public-url (malote.yaml:1): "hooks.example.com" is not the address of a server: write http:// or https://, the host, and a path if there is one`},
		{"key without certificate", nil, nil, "tls-key: k.pem", `tls-cert: a certificate belongs to tls-key: set both, or neither`},
		{"profiling", nil, nil, "profiling: 0.0.0.0:6060", `profiling (malote.yaml:1): "0.0.0.0:6060" is not a loopback address: profiles show what is in memory, so write 127.0.0.1:PORT`},
		{"size", nil, nil, "max-body: 2GiB", `max-body (malote.yaml:1): 2GiB is out of range: it goes from 1KiB to 1GiB`},
		{"level", nil, nil, "log-level: loud\nlog-format: xml", `log-level (malote.yaml:1): "loud" is not one of debug, info, warn, error` + "\n" + `log-format (malote.yaml:2): "xml" is not one of text, json`},
		{"all at once", map[string][]string{"data": {""}}, nil, "retention-sweep: 1ms\nclient-ca: ca.pem", "data (flag --data): a folder is needed\nclient-ca (malote.yaml:2): client certificates need HTTPS: set tls-cert and tls-key as well\nretention-sweep (malote.yaml:1): 1ms is too short: the least is 1s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{}
			if test.file != "" {
				files["malote.yaml"] = test.file
			}
			_, _, err := Load(input(test.flags, test.env, files))
			invalid := (*hook.Error)(nil)
			if !errors.As(err, &invalid) || invalid.Kind != hook.KindInvalid {
				t.Fatalf("got %v", err)
			}
			lines := make([]string, 0, len(invalid.Problems))
			for _, problem := range invalid.Problems {
				lines = append(lines, problem.Path+": "+problem.Message)
			}
			if got := strings.Join(lines, "\n"); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// golden compares with a file, which -update writes.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not up to date: go test ./internal/config -update\n%s", name, diff)
	}
}

func TestWrite(t *testing.T) {
	settings, origins, err := Load(input(map[string][]string{"listen": {":9000"}}, map[string]string{"MALOTE_TOKEN": "very-secret"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := settings.Write(&b, origins); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/config.golden", b.Bytes())
	if strings.Contains(b.String(), "very-secret") {
		t.Error("a secret is shown")
	}
}

func TestConfigurationPage(t *testing.T) {
	golden(t, "../../docs/configuration.md", []byte(markdown()))
}

// Every setting can be given in all three ways, and is documented.
func TestFields(t *testing.T) {
	groups := map[string]bool{GroupFiles: true, GroupNetwork: true, GroupRunning: true, GroupClient: true}
	seen := map[string]bool{}
	for _, field := range Fields() {
		if field.Key == "" || field.Help == "" || !groups[field.Group] || seen[field.Key] || (field.Metavar == "") != field.Switch {
			t.Errorf("the declaration of %q is not complete: %+v", field.Key, field)
		}
		seen[field.Key] = true
		if strings.HasSuffix(field.Help, ".") || strings.ToLower(field.Help[:1]) != field.Help[:1] && !strings.HasPrefix(field.Help, "PEM") && !strings.HasPrefix(field.Help, "API") {
			t.Errorf("the help of %s is no lower-case phrase: %q", field.Key, field.Help)
		}
	}
}

func TestSizeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := Size(rapid.Int64Range(0, 1<<50).Draw(t, "size"))
		var got Size
		if err := got.UnmarshalText([]byte(size.String())); err != nil || got != size {
			t.Fatalf("%d is written %s and read as %d (%v)", size, size, got, err)
		}
	})
	for _, text := range []string{"", "-1", "1TB", "1.5MiB", "MiB", "99999999999GiB", "B"} {
		var size Size
		if err := size.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %d", text, size)
		}
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{"listen: :1", "allow-private: [a, {b: c}]", "data: &a *a", "metrics: yes\n---\nmetrics: no", "\x00", "max-body: 9e9"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := input(nil, nil, nil)
		in.ReadFile = func(string) ([]byte, error) { return data, nil }
		settings, _, err := Load(in)
		if err == nil && settings.Validate() != nil {
			t.Fatalf("Load returns settings that are not valid: %v", settings.Validate())
		}
	})
}

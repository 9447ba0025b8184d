package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"malote.dev/malote/internal/api"
	"malote.dev/malote/internal/app"
	"malote.dev/malote/internal/config"
	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/shell"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// terminal is a command line in a test.
type terminal struct {
	t       *testing.T
	input   string
	env     map[string]string
	files   map[string]string
	colored bool
	asks    bool
	serve   func(ctx context.Context, settings config.Settings, options app.Options) error
	examine examine
}

// result is what a command left behind.
type result struct {
	out, err string
	code     int
}

func (x *terminal) run(args ...string) result {
	x.t.Helper()
	return runWith(x.t.Context(), x, args...)
}

func runWith(ctx context.Context, x *terminal, args ...string) result {
	var out, fault bytes.Buffer
	c := &cli{Shell: &shell.Shell{
		In: strings.NewReader(x.input), Out: &out, Err: &fault,
		LookupEnv: func(name string) (string, bool) {
			value, ok := x.env[name]
			return value, ok
		},
		Environ: func() []string {
			var all []string
			for name, value := range x.env {
				all = append(all, name+"="+value)
			}
			return all
		},
		ReadFile: func(name string) ([]byte, error) {
			value, ok := x.files[name]
			if !ok {
				return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
			return []byte(value), nil
		},
		Now: func() time.Time { return now }, Zone: time.UTC, Colored: x.colored, Asks: x.asks, Version: "v1.2.3",
	}, serve: x.serve, examine: x.examine}
	code := execute(ctx, c, args)
	return result{out: out.String(), err: fault.String(), code: code}
}

// golden compares with a file, which -update writes.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (go test ./cmd/malote -update writes it):\n%s", name, diff)
	}
}

// TestHelp shows the help of every command, in the page of the commands, too.
func TestHelp(t *testing.T) {
	x := &terminal{t: t}
	var all strings.Builder
	all.WriteString(`# Commands

What ` + "`malote COMMAND --help`" + ` says. Every command that talks to a server finds it, and its
token, by the settings of [the configuration](configuration.md). The exit code is 0 when
all went well, 1 when something failed, 2 when the command was called wrongly; errors go
to the standard error output.
`)
	var visit func(path []string, command *cobra.Command)
	visit = func(path []string, command *cobra.Command) {
		got := x.run(append(path, "--help")...)
		if got.code != 0 || got.err != "" {
			t.Errorf("%v: %+v", path, got)
		}
		fmt.Fprintf(&all, "\n## malote %s\n\n```text\n%s```\n", strings.Join(path, " "), got.out)
		for _, sub := range command.Commands() {
			if sub.Name() != "completion" && sub.Name() != "help" && sub.Short != command.Short {
				visit(append(path[:len(path):len(path)], sub.Name()), sub)
			}
		}
	}
	visit(nil, (&cli{Shell: &shell.Shell{}}).root())
	golden(t, "../../docs/commands.md", strings.Replace(all.String(), "## malote \n", "## malote\n", 1))
}

func TestConfig(t *testing.T) {
	x := &terminal{t: t, env: map[string]string{"MALOTE_TOKEN": "mlt_secret", "MALOTE_CONFIG": "etc/malote.yaml"}, files: map[string]string{
		"etc/malote.yaml": "listen: :9000\nallow-private: [10.0.0.0/8]\n",
	}}
	got := x.run("config", "--data", "/srv/malote", "--metrics=false")
	if got.code != 0 || strings.Contains(got.out, "mlt_secret") {
		t.Errorf("got %+v", got)
	}
	golden(t, "testdata/config.golden", got.out)
	asJSON := x.run("config", "--json")
	for line := range strings.Lines(asJSON.out) {
		var one config.Effective
		if err := json.Unmarshal([]byte(line), &one); err != nil || one.Key == "" {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	x := &terminal{t: t, files: map[string]string{"bad.yaml": "listn: :1"}}
	for _, test := range []struct{ args, want string }{
		{"evnts", `malote: unknown command "evnts" of "malote"; did you mean "events"?` + "\n" + `See "malote --help".` + "\n"},
		{"deliveries rety dlv_1", `malote: unknown command "rety" of "malote deliveries"; did you mean "retry"?` + "\n" + `See "malote deliveries --help".` + "\n"},
		{"serve now", `malote: "malote serve" takes no arguments: remove "now"` + "\n" + `See "malote serve --help".` + "\n"},
		{"serve --port 1", "malote: unknown flag: --port\nSee \"malote serve --help\".\n"},
		{"serve --metrics=perhaps", "malote: these settings cannot be used\n  flag --metrics: \"perhaps\" is neither true nor false\nSee \"malote serve --help\".\n"},
		{"serve --config bad.yaml", "malote: these settings cannot be used\n  bad.yaml:1:1: unknown setting \"listn\"; did you mean \"listen\"?\nSee \"malote serve --help\".\n"},
		{"serve --database postgres://db/malote", "malote: these settings cannot be used\n  database (flag --database): PostgreSQL is not available in this version: leave it out to use the embedded SQLite database\nSee \"malote serve --help\".\n"},
		{"token", "malote: \"malote token\" does nothing by itself: name one of its commands\nSee \"malote token --help\".\n"},
		{"token create", "malote: a name is needed: write --name and who uses the token\nSee \"malote token create --help\".\n"},
		{"token create --name x --role root", "malote: \"root\" is not a role: write viewer, operator or admin\nSee \"malote token create --help\".\n"},
		{"token create --name x --expires soon", "malote: --expires: \"soon\" is not a duration: write a number and a unit, such as 5s, 10m, 2h or 30d\nSee \"malote token create --help\".\n"},
		{"token revoke", "malote: \"malote token revoke\" needs the ID of a token\nSee \"malote token revoke --help\".\n"},
		{"events get evt_1 evt_2", "malote: \"malote events get\" takes one argument, the ID of an event: remove \"evt_2\"\nSee \"malote events get --help\".\n"},
		{"deliveries cancel", "malote: \"malote deliveries cancel\" needs the ID of a delivery\nSee \"malote deliveries cancel --help\".\n"},
		{"completion tcsh", "malote: unknown command \"tcsh\" of \"malote completion\"; did you mean \"bash\"?\nSee \"malote completion --help\".\n"},
		{"completion", "malote: \"malote completion\" does nothing by itself: name one of its commands\nSee \"malote completion --help\".\n"},
		{"events --limit ten", "malote: invalid argument \"ten\" for \"--limit\" flag: it is not a whole number\nSee \"malote events --help\".\n"},
		{"events --limit 99999999999999999999", "malote: invalid argument \"99999999999999999999\" for \"--limit\" flag: it is too large a number\nSee \"malote events --help\".\n"},
		{"plan", "malote: a flow is needed: write -f and the file or folder\nSee \"malote plan --help\".\n"},
		{"events --after yesterday", "malote: --after: \"yesterday\" is not a time: write how long ago (2h, 7d), a date, or 2026-01-02T15:04:05Z\nSee \"malote events --help\".\n"},
		{"events --limit=-1", "malote: --limit: -1 is not a number of events: write 0 for all\nSee \"malote events --help\".\n"},
		{"deliveries --cause tired", "malote: --cause: \"tired\" does not hold deliveries: use paused, circuit or parked\nSee \"malote deliveries --help\".\n"},
		{"deliveries --state done", "malote: --state: \"done\" is not a state of a delivery: use pending, sending, succeeded, failed, held or canceled\nSee \"malote deliveries --help\".\n"},
		{"deliveries retry", "malote: name the deliveries, or select them: --state failed selects all that failed\nSee \"malote deliveries retry --help\".\n"},
		{"deliveries retry dlv_1 --state failed", "malote: give ids, or flags that select deliveries, not both\nSee \"malote deliveries retry --help\".\n"},
		{"send shop --header oops", "malote: --header: \"oops\" has no name and value: write 'Name: value'\nSee \"malote send --help\".\n"},
		{"send shop --secret x", "malote: --secret goes with --sign: name the scheme\nSee \"malote send --help\".\n"},
		{"send shop --sign stripee --secret x", "malote: --sign: unknown scheme \"stripee\"; did you mean \"stripe\"?\nSee \"malote send --help\".\n"},
		{"send shop --sign stripe", "malote: --sign needs the source's secret: give it by --secret\nSee \"malote send --help\".\n"},
		{"send shop --sign none --type x", "malote: with --sign the source reads type and key from the request: give them by --header or in the data\nSee \"malote send --help\".\n"},
	} {
		got := x.run(strings.Fields(test.args)...)
		if got.code != exitUsage || got.out != "" {
			t.Errorf("malote %s: %+v", test.args, got)
		}
		if got.err != test.want {
			t.Errorf("malote %s\ngot  %swant %s", test.args, got.err, test.want)
		}
	}
}

func TestServe(t *testing.T) {
	var given config.Settings
	var options app.Options
	x := &terminal{t: t, serve: func(_ context.Context, settings config.Settings, o app.Options) error {
		given, options = settings, o
		return nil
	}}
	if got := x.run("serve", "--listen", ":1", "--allow-private", "10.0.0.0/8", "--allow-private", "127.0.0.1/32:9,127.0.0.2", "--metrics=false"); got.code != 0 {
		t.Errorf("got %+v", got)
	}
	want := config.Default()
	want.Listen, want.Metrics, want.AllowPrivate = ":1", false, []string{"10.0.0.0/8", "127.0.0.1/32:9", "127.0.0.2"}
	if diff := cmp.Diff(want, given); diff != "" {
		t.Error(diff)
	}
	if options.Demo || options.Version != "v1.2.3" || options.Out == nil || options.Log == nil {
		t.Errorf("got %+v", options)
	}
	if got := x.run("demo"); got.code != 0 || !options.Demo {
		t.Errorf("the demo is served as %+v", options)
	}
	x.serve = func(context.Context, config.Settings, app.Options) error {
		return hook.Errorf(hook.KindUnavailable, "another malote process uses this data folder")
	}
	if got := x.run("serve"); got.code != exitFailed || got.err != "malote: another malote process uses this data folder\n" {
		t.Errorf("got %+v", got)
	}
}

func TestVersionAndSchema(t *testing.T) {
	x := &terminal{t: t}
	if got := x.run("version"); got.code != 0 || !strings.HasPrefix(got.out, "malote v1.2.3") {
		t.Errorf("got %+v", got)
	}
	if got := x.run("version", "--json"); !json.Valid([]byte(got.out)) {
		t.Errorf("got %+v", got)
	}
	if got := x.run("schema"); got.out != string(flow.Schema()) {
		t.Error("the schema is another one")
	}
	if got := x.run("completion", "bash"); got.code != 0 || !strings.Contains(got.out, "malote") {
		t.Errorf("got %+v", got)
	}
	if got := x.run(); got.code != 0 || !strings.Contains(got.out, "malote demo") {
		t.Errorf("got %+v", got)
	}
}

func TestProviders(t *testing.T) {
	x := &terminal{t: t}
	if got := x.run("providers", "GitHub"); got.code != 0 || !strings.Contains(got.out, "github") || strings.Contains(got.out, "stripe") {
		t.Errorf("got %+v", got)
	}
	if got := x.run("__complete", "providers", "show", "git"); !strings.Contains(got.out, "\ngithub\n") {
		t.Errorf("completed to %+v", got)
	}
	lines := strings.Split(strings.TrimSpace(x.run("providers", "--json").out), "\n")
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("got %s", line)
		}
	}
	if len(lines) < 30 {
		t.Errorf("there are %d providers", len(lines))
	}
	if got := x.run("providers", "no such one"); got.code != 0 || !strings.HasPrefix(got.out, "No provider fits.") {
		t.Errorf("got %+v", got)
	}
	if got := x.run("providers", "show", "githb"); got.code != exitFailed || got.err != "malote: no provider \"githb\"; did you mean \"github\"?\n" {
		t.Errorf("got %+v", got)
	}
	english := x.run("providers", "show", "github")
	x.env = map[string]string{"LANG": "pt_BR.UTF-8"}
	portuguese := x.run("providers", "show", "github")
	if english.code != 0 || portuguese.code != 0 || english.out == portuguese.out {
		t.Errorf("got %+v and %+v", english, portuguese)
	}
	_, starter, _ := strings.Cut(english.out, "\n\n")
	if _, err := flow.Parse([]flow.File{{Name: "starter", Data: []byte(starter)}}, flow.Options{Lookup: func(string) (string, bool) { return "x", true }}); err != nil {
		t.Errorf("the flow to begin with is wrong: %v\n%s", err, starter)
	}
}

// server plays the API with fixed answers, and remembers the requests.
type server struct {
	t        *testing.T
	url      string
	answers  map[string]any // by method and path: a status, a text, or a value for JSON
	requests []string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, answers: map[string]any{
		"GET /api/v1/source":      page(api.SourceOut{Source: hook.Source{ID: 1, Name: "shop"}}),
		"GET /api/v1/destination": page(api.DestinationOut{Destination: hook.Destination{ID: 2, Name: "erp"}}),
		"GET /api/v1/connection":  page(api.ConnectionOut{Connection: hook.Connection{ID: 3, Name: "orders-to-erp"}}),
	}}
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	t.Cleanup(listening.CloseClientConnections)
	s.url = listening.URL
	return s
}

func page[T any](items ...T) any { return api.List[T]{Data: items, Done: true} }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	line := r.Method + " " + r.URL.RequestURI()
	if strings.HasPrefix(r.URL.Path, "/api/") && r.Header.Get("Authorization") != "Bearer mlt_file" {
		s.t.Errorf("%s carries %q", line, r.Header.Get("Authorization"))
	}
	s.requests = append(s.requests, strings.TrimSpace(line+" "+string(body)))
	switch answer := s.answers[r.Method+" "+r.URL.Path].(type) {
	case nil:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"code":"not_found","detail":"nothing at %s"}`, line)
	case int:
		w.WriteHeader(answer)
	case string:
		io.WriteString(w, answer)
	case func(http.ResponseWriter, *http.Request):
		answer(w, r)
	default:
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			s.t.Error(err)
		}
	}
}

// sent returns the last request.
func (s *server) sent() string {
	if len(s.requests) == 0 {
		return ""
	}
	return s.requests[len(s.requests)-1]
}

// terminal returns a command line whose token lies in the data folder.
func (s *server) terminal() *terminal {
	return &terminal{
		t: s.t, env: map[string]string{"MALOTE_SERVER": s.url, "MALOTE_DATA": "data"},
		files: map[string]string{filepath.Join("data", "admin-token"): "mlt_file\n"},
	}
}

// Package e2e tests the built program from outside, as its users meet it: processes,
// files, HTTP. It knows nothing of what is inside.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the program under test: the one that MALOTE_BINARY names, or else one that
// TestMain builds.
var binary = os.Getenv("MALOTE_BINARY")

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	if binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "malote-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "malote")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "malote.dev/malote/cmd/malote")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the program does not build: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

// Limits of how long the program may take.
const (
	startTime = 20 * time.Second
	stopTime  = 40 * time.Second
	waitTime  = 30 * time.Second // for whatever a test waits for
)

// server is a running malote.
type server struct {
	t       *testing.T
	command *exec.Cmd
	dir     string
	env     []string
	url     string
	output  *output
	exited  chan struct{}
}

// output is what a process printed; it may be read while the process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) add(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.WriteString(line + "\n")
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// options say how a server is started.
type options struct {
	dir     string   // data folder; "" for a new one
	env     []string // besides the test's own
	args    []string // besides --data, --listen and --allow-private
	command string   // default serve
}

var listening = regexp.MustCompile(`listening on (http://[0-9.:]+)`)

// begin starts the program without waiting for anything.
func begin(t *testing.T, o options) *server {
	t.Helper()
	if o.dir == "" {
		o.dir = filepath.Join(t.TempDir(), "data")
	}
	if o.command == "" {
		o.command = "serve"
	}
	args := append([]string{
		o.command, "--data", o.dir, "--listen", "127.0.0.1:0", "--allow-private", "127.0.0.0/8",
	}, o.args...)
	s := &server{t: t, dir: o.dir, env: o.env, output: &output{}, exited: make(chan struct{}), command: exec.Command(binary, args...)}
	s.command.Env = append(os.Environ(), o.env...)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.command.Stdout, s.command.Stderr = writer, writer
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	printed := make(chan struct{})
	address := make(chan string, 1)
	go func() {
		defer close(printed)
		defer func() { _ = reader.Close() }()
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			s.output.add(lines.Text())
			if found := listening.FindStringSubmatch(lines.Text()); found != nil {
				select {
				case address <- found[1]:
				default:
				}
			}
		}
	}()
	go func() {
		_ = s.command.Wait()
		<-printed
		close(s.exited)
	}()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the server printed:\n%s", s.output)
		}
	})
	select {
	case s.url = <-address:
	case <-s.exited:
	case <-time.After(startTime):
		t.Fatalf("the server does not say where it listens")
	}
	return s
}

// start starts the program and waits until it listens.
func start(t *testing.T, o options) *server {
	t.Helper()
	s := begin(t, o)
	if s.url == "" {
		t.Fatalf("the server ended at once with code %d", s.command.ProcessState.ExitCode())
	}
	return s
}

// kill ends the server as kill -9 does.
func (s *server) kill() {
	_ = s.command.Process.Kill()
	<-s.exited
}

// stop ends the server as an operator does, and returns its exit code.
func (s *server) stop() int {
	s.t.Helper()
	_ = s.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(stopTime):
		s.t.Fatalf("the server did not stop within %s", stopTime)
	}
	return s.command.ProcessState.ExitCode()
}

// token returns the admin token of the first start.
func (s *server) token() string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "admin-token"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// printed is what a command of the program left behind.
type printed struct {
	out, err string
	code     int
}

// cli runs a command of the program against the server.
func (s *server) cli(args ...string) printed {
	s.t.Helper()
	return command(s.t, append(s.env, "MALOTE_SERVER="+s.url, "MALOTE_DATA="+s.dir), args...)
}

// command runs a command of the program.
func command(t *testing.T, env []string, args ...string) printed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTime)
	defer cancel()
	c := exec.CommandContext(ctx, binary, args...)
	c.Env = append(os.Environ(), env...)
	var out, fault bytes.Buffer
	c.Stdout, c.Stderr = &out, &fault
	err := c.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("malote %s: %v", strings.Join(args, " "), err)
	}
	return printed{out: out.String(), err: fault.String(), code: c.ProcessState.ExitCode()}
}

// mustCLI runs a command that has to work, and returns what it printed.
func (s *server) mustCLI(args ...string) string {
	s.t.Helper()
	p := s.cli(args...)
	if p.code != 0 {
		s.t.Fatalf("malote %s: exit code %d\n%s%s", strings.Join(args, " "), p.code, p.out, p.err)
	}
	return p.out
}

// apply makes the catalogue what a flow says. env answers its ${…}.
func (s *server) apply(flow string, env ...string) {
	s.t.Helper()
	file := writeFlow(s.t, flow)
	p := command(s.t, append(env, "MALOTE_SERVER="+s.url, "MALOTE_DATA="+s.dir), "apply", "-f", file)
	if p.code != 0 {
		s.t.Fatalf("malote apply: exit code %d\n%s%s", p.code, p.out, p.err)
	}
}

// writeFlow writes a flow to a file of its own.
func writeFlow(t *testing.T, flow string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "flow.yaml")
	if err := os.WriteFile(file, []byte(flow), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// api calls the HTTP API as admin and decodes the answer into into, if that is not nil.
func (s *server) api(method, path string, into any) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+"/api/v1"+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			s.t.Fatalf("%s %s: %d %s: %v", method, path, resp.StatusCode, text, err)
		}
	}
	return resp.StatusCode
}

// page is a list of the API.
type page[T any] struct {
	Data []T  `json:"data"`
	Done bool `json:"done"`
}

// event, delivery, attempt and refusal are the parts of the API's nouns that the tests
// look at.
type (
	event struct {
		ID         string `json:"id"`
		Type       string `json:"type"`
		Duplicates int    `json:"duplicates"`
	}
	delivery struct {
		ID       string `json:"id"`
		Event    string `json:"event"`
		State    string `json:"state"`
		Reason   string `json:"reason"`
		Attempts int    `json:"attempts"`
	}
	attempt struct {
		Number         int    `json:"number"`
		Manual         bool   `json:"manual"`
		Outcome        string `json:"outcome"`
		ResponseStatus int    `json:"responseStatus"`
	}
	refusal struct {
		ID          string   `json:"id"`
		Reason      string   `json:"reason"`
		Explanation []string `json:"explanation"`
		Admitted    string   `json:"admitted"`
	}
)

// deliveriesOf returns the deliveries of an event.
func (s *server) deliveriesOf(event string) []delivery {
	s.t.Helper()
	var found page[delivery]
	s.api(http.MethodGet, "/delivery?event="+url.QueryEscape(event), &found)
	return found.Data
}

// waitForState waits until the only delivery of an event is in a state.
func (s *server) waitForState(event, state string) delivery {
	s.t.Helper()
	var last []delivery
	eventually(s.t, func() bool {
		last = s.deliveriesOf(event)
		return len(last) == 1 && last[0].State == state
	}, func() string { return fmt.Sprintf("the delivery of %s is %+v, want %s", event, last, state) })
	return last[0]
}

// eventually waits until true is returned, and fails with the text of otherwise.
func eventually(t *testing.T, condition func() bool, otherwise func() string) {
	t.Helper()
	deadline := time.After(waitTime)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal(otherwise())
		}
	}
}

// receipt is what a sender is answered.
type receipt struct {
	status int
	event  string
	body   string
}

// send posts a body to a source with headers.
func (s *server) send(source string, headers http.Header, body []byte) receipt {
	s.t.Helper()
	got, err := s.trySend(s.t.Context(), source, headers, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

func (s *server) trySend(ctx context.Context, source string, headers http.Header, body []byte) (receipt, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/in/"+source, bytes.NewReader(body))
	if err != nil {
		return receipt{}, err
	}
	req.Header = headers
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return receipt{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return receipt{}, err
	}
	var answer struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(text, &answer) // an error answer has no id
	return receipt{status: resp.StatusCode, event: answer.ID, body: string(text)}, nil
}

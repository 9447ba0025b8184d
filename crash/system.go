package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// flowFile is what the program is set up as: three providers that identify their
// deliveries, and receivers of every temper, some of which want the events of each
// customer in order. It is applied at each start, which brings back the connection that
// the operator deletes. What the system tells of itself goes to a receiver, too.
const flowFile = `sources:
  shop:
    provider: shopify
    secret: %[2]s
  hub:
    provider: github
    secret: %[2]s
  plain:
    verify: { none: true }
    dedupe: { header: X-Order-Id }
destinations:
  flapping: { http: { url: "%[1]s/flapping", timeout: 2s }, concurrency: 16, circuit: %[4]s }
  slow: { http: { url: "%[1]s/slow", timeout: 2s }, concurrency: 8, circuit: %[4]s }
  dead: { http: { url: "%[1]s/dead", timeout: 2s }, circuit: %[4]s }
  parked: { http: { url: "%[1]s/parked", timeout: 2s }, circuit: %[4]s }
  limited: { http: { url: "%[1]s/limited", timeout: 2s }, rate: 20/s }
  strict: { http: { url: "%[1]s/strict", timeout: 2s }, circuit: %[4]s }
  skipping: { http: { url: "%[1]s/skipping", timeout: 2s }, circuit: %[4]s }
  parking: { http: { url: "%[1]s/parking", timeout: 2s }, circuit: { off: true } }
  watch: { http: { url: "%[1]s/watch", timeout: 2s } }
connections:
  shop-to-flapping: { from: shop, to: flapping, retry: %[3]s }
  shop-to-slow: { from: shop, to: slow, retry: %[3]s }
  shop-to-skipping: { from: shop, to: skipping, retry: %[3]s, order: { key: data.customer.id, stuck: skip after 3 } }
  hub-to-flapping: { from: hub, to: flapping, retry: %[3]s }
  hub-to-parked: { from: hub, to: parked, retry: %[3]s }
  hub-to-strict: { from: hub, to: strict, retry: %[3]s, order: { key: data.customer.id } }
  hub-to-parking: { from: hub, to: parking, retry: { schedule: [300ms, 500ms] }, order: { key: data.customer.id, stuck: park } }
  plain-to-dead: { from: plain, to: dead, retry: %[3]s }
  plain-to-parked: { from: plain, to: parked, retry: %[3]s }
  plain-to-limited: { from: plain, to: limited, retry: %[3]s }
  plain-to-strict: { from: plain, to: strict, retry: %[3]s, order: { key: data.customer.id, stuck: block } }
  plain-to-slow: { from: plain, to: slow, retry: %[3]s }
  malote-to-watch: { from: malote, to: watch, retry: %[3]s }
`

const (
	retryPolicy   = "{ schedule: [500ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s] }"
	circuitPolicy = "{ failures: 5, probe: 500ms, maxProbe: 2s }"
	// doomed is the connection that the operator deletes.
	doomed = "plain-to-slow"
	secret = "it-is-a-secret-to-everybody"
)

// targets says how many connections take an order of each source, the doomed one not
// counted.
func targets() map[string]int { return map[string]int{"shop": 3, "hub": 4, "plain": 4} }

// counted says after how many attempts, failed probes not counted, a delivery over a
// connection may fail by itself; 0: it never does.
func counted(connection string) int64 {
	switch connection {
	case "hub-to-strict", "plain-to-strict", "hub-to-parking":
		return 0
	case "shop-to-skipping":
		return 3
	default:
		return 9
	}
}

// isOrderedConnection reports whether deliveries over a connection go one at a time for
// each customer.
func isOrderedConnection(name string) bool {
	return slices.Contains([]string{"hub-to-strict", "plain-to-strict", "shop-to-skipping", "hub-to-parking"}, name)
}

// isOrdered reports whether what a source leads to a path goes one at a time for each
// customer.
func isOrdered(source, path string) bool {
	switch path {
	case "/strict":
		return source == "hub" || source == "plain"
	case "/skipping":
		return source == "shop"
	case "/parking":
		return source == "hub"
	default:
		return false
	}
}

// Limits of how long the program may take.
const (
	startTime = 30 * time.Second
	stopTime  = 40 * time.Second
	callTime  = 20 * time.Second
)

// system is the program under test and the data folder that its lives share.
type system struct {
	binary  string
	data    string
	flow    string
	log     string
	faults  *faults
	life    *atomic.Int64 // number of the present process
	url     atomic.Pointer[string]
	token   atomic.Pointer[string]
	client  *http.Client
	command *exec.Cmd
	exited  chan struct{}
}

// newSystem prepares a system on an empty folder.
func newSystem(set *settings, receiver *receiver, faults *faults) (*system, error) {
	s := &system{
		binary: set.binary, data: filepath.Join(set.dir, "data"), flow: filepath.Join(set.dir, "flow.yaml"),
		log: filepath.Join(set.dir, "log"), faults: faults, life: &receiver.life,
		client: &http.Client{Timeout: callTime, Transport: &http.Transport{MaxIdleConnsPerHost: senders}},
	}
	return s, os.WriteFile(s.flow, fmt.Appendf(nil, flowFile, receiver.url, secret, retryPolicy, circuitPolicy), 0o600)
}

// listening finds where a process says that it listens.
var listening = regexp.MustCompile(`listening on (http://[0-9.:]+)`)

// launch begins a process. What it returns is told the process's address.
func (s *system) launch(ctx context.Context) (<-chan string, error) {
	output, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.life.Add(1)
	s.command = exec.CommandContext(ctx, s.binary, "serve", "--data", s.data, "--listen", loopback, "--flows", s.flow, "--allow-private", "127.0.0.0/8")
	s.command.Stdout, s.command.Stderr = input, input
	err = s.command.Start()
	_ = input.Close()
	if err != nil {
		_ = output.Close()
		return nil, fmt.Errorf("starting the program: %w", err)
	}
	said := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.follow(output, said)
	}()
	command, exited := s.command, make(chan struct{})
	s.exited = exited
	go func() {
		_ = command.Wait()
		<-read
		close(exited)
	}()
	return said, nil
}

// follow keeps what a process prints, passes on where it listens, and notes errors that
// only a defect explains: every line of the level ERROR, and panics.
func (s *system) follow(output *os.File, said chan<- string) {
	defer func() { _ = output.Close() }()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.faults.add("the log cannot be kept: %v", err)
		return
	}
	defer func() { _ = log.Close() }()
	_, _ = fmt.Fprintf(log, "--- life %d\n", s.life.Load())
	for lines := bufio.NewScanner(output); lines.Scan(); {
		line := lines.Text()
		_, _ = log.WriteString(line + "\n")
		if strings.Contains(line, "level=ERROR") || strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
			s.faults.add("life %d logged: %s", s.life.Load(), line)
		}
		if found := listening.FindStringSubmatch(line); found != nil && said != nil {
			said <- found[1]
			said = nil
		}
	}
}

// start begins a process and waits until it listens.
func (s *system) start(ctx context.Context) error {
	said, err := s.launch(ctx)
	if err != nil {
		return err
	}
	select {
	case url := <-said:
		token, err := os.ReadFile(filepath.Join(s.data, "admin-token"))
		if err != nil {
			return fmt.Errorf("the program listens without an admin token: %w", err)
		}
		text := strings.TrimSpace(string(token))
		s.token.Store(&text)
		s.url.Store(&url)
		return nil
	case <-s.exited:
		return fmt.Errorf("life %d ended by itself with code %d: see %s", s.life.Load(), s.command.ProcessState.ExitCode(), s.log)
	case <-time.After(startTime):
		return fmt.Errorf("life %d does not listen after %s: see %s", s.life.Load(), startTime, s.log)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill ends the process at once.
func (s *system) kill() {
	if s.command == nil || s.command.Process == nil {
		return
	}
	_ = s.command.Process.Kill()
	<-s.exited
}

// stop ends the process as an operator does.
func (s *system) stop(ctx context.Context) error {
	_ = s.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(stopTime):
		return fmt.Errorf("life %d does not stop within %s", s.life.Load(), stopTime)
	}
	if code := s.command.ProcessState.ExitCode(); code != 0 {
		s.faults.add("life %d stopped with code %d", s.life.Load(), code)
	}
	return nil
}

// doctor has the program look at its own data.
func (s *system) doctor(ctx context.Context) {
	command := exec.CommandContext(ctx, s.binary, "doctor", "--data", s.data)
	if text, err := command.CombinedOutput(); err != nil && ctx.Err() == nil {
		s.faults.add("malote doctor after life %d: %v\n%s", s.life.Load(), err, text)
	}
}

// errGone means that no process answers: it was ended, or is about to be.
var errGone = errors.New("nobody answers")

// call calls the API and decodes a successful answer into into, if that is not nil. It
// returns the status; an answer that only a defect explains is a fault.
func (s *system) call(ctx context.Context, method, path string, into any) (int, error) {
	return s.exchange(ctx, exchange{method: method, path: path}, into)
}

// exchange is a call of the API with a body; nil: none.
type exchange struct {
	method, path string
	body         any
}

func (s *system) exchange(ctx context.Context, call exchange, into any) (int, error) {
	url, token := s.url.Load(), s.token.Load()
	var content []byte
	if call.body != nil {
		var err error
		if content, err = json.Marshal(call.body); err != nil {
			return 0, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, call.method, *url+"/api/v1"+call.path, bytes.NewReader(content))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+*token)
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errGone, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %w", errGone, err)
	case resp.StatusCode == http.StatusInternalServerError, resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusUnprocessableEntity:
		s.faults.add("%s %s %s is answered %d: %s", call.method, call.path, content, resp.StatusCode, bytes.TrimSpace(text))
	case into != nil && resp.StatusCode/100 == 2:
		if err := json.Unmarshal(text, into); err != nil {
			return resp.StatusCode, fmt.Errorf("%s %s: %w", call.method, call.path, err)
		}
	}
	return resp.StatusCode, nil
}

// must is call for what has to work.
func (s *system) must(ctx context.Context, method, path string, into any) error {
	status, err := s.call(ctx, method, path, into)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("%s %s is answered %d", method, path, status)
	}
	return err
}

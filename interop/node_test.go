package interop_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// node is the process that runs the npm libraries, one question at a time.
type node struct {
	mu  sync.Mutex
	in  io.WriteCloser
	out *bufio.Reader
}

// question is one line to the process.
type question struct {
	Library   string            `json:"library"`
	Op        string            `json:"op"`
	Secret    string            `json:"secret,omitempty"`
	Method    string            `json:"method,omitempty"`
	URL       string            `json:"url,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"` // lower-case names
	Body      []byte            `json:"body"`
	MessageID string            `json:"messageId,omitempty"`
	Timestamp int64             `json:"timestamp,omitempty"`
	Audience  string            `json:"audience,omitempty"`
	Mode      string            `json:"mode,omitempty"`
}

// reply is one line from it.
type reply struct {
	OK      bool              `json:"ok"`
	Error   string            `json:"error"`
	Headers map[string]string `json:"headers"`
}

// process is started by the first test that asks for it, and ends when the pipe to it
// closes with the test binary.
var process = sync.OnceValues(startNode)

func startNode() (*node, error) {
	path, err := exec.LookPath("node")
	if err != nil {
		return nil, errNoNode
	}
	if _, err := os.Stat(filepath.Join("npm", "node_modules", "standardwebhooks")); err != nil {
		return nil, errors.New("the npm packages are not installed: run scripts/interop.sh, or npm ci --ignore-scripts in interop/npm")
	}
	cmd := exec.Command(path, "libraries.mjs")
	cmd.Dir = "npm"
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &node{in: in, out: bufio.NewReaderSize(out, 1<<20)}, nil
}

var errNoNode = errors.New("node is not installed, so the npm libraries are not tested")

// needNode returns the process, and skips the test only where there is no Node at all.
func needNode(t testing.TB) *node {
	t.Helper()
	n, err := process()
	if errors.Is(err, errNoNode) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ask puts one question. An error that is not the library's answer ends the program,
// because it would otherwise pass for a refusal.
func (n *node) ask(q *question) reply {
	n.mu.Lock()
	defer n.mu.Unlock()
	text, err := json.Marshal(q)
	if err != nil {
		panic(err)
	}
	if _, err := n.in.Write(append(text, '\n')); err != nil {
		panic(fmt.Sprintf("node does not listen: %v", err))
	}
	line, err := n.out.ReadBytes('\n')
	if err != nil {
		panic(fmt.Sprintf("node does not answer: %v", err))
	}
	var answer reply
	if err := json.Unmarshal(line, &answer); err != nil {
		panic(fmt.Sprintf("node answered %q: %v", line, err))
	}
	return answer
}

// npm returns the verification of an npm library; nil where there is no Node, so that
// the Go libraries are tested all the same.
func npm(t testing.TB, name string) library {
	t.Helper()
	n, err := process()
	if errors.Is(err, errNoNode) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return func(secret string, r *request) error {
		answer := n.ask(npmQuestion(name, secret, r))
		if !answer.OK {
			return errors.New(answer.Error)
		}
		return nil
	}
}

func npmQuestion(name, secret string, r *request) *question {
	headers := make(map[string]string, len(r.header))
	for header := range r.header {
		headers[strings.ToLower(header)] = r.header.Get(header)
	}
	return &question{Library: name, Op: "verify", Secret: secret, Method: r.method, URL: r.url, Headers: headers, Body: r.body}
}

// TestNode says in one place whether the npm libraries take part.
func TestNode(t *testing.T) {
	t.Parallel()
	n := needNode(t)
	if answer := n.ask(&question{Library: "none", Op: "verify"}); answer.OK {
		t.Error("a library that does not exist accepts everything")
	}
}

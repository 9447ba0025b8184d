package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// concurrency is how many deliveries are under way at once, in malote and in the
// reference that delivers after its answer.
const concurrency = 64

// startTime is how long a system may take to listen: a large flow is applied before.
const startTime = 2 * time.Minute

// ticksPerSecond is the unit of the times in /proc, the same on every Linux.
const ticksPerSecond = 100

// flowFile connects the load to the receiver with everything on the way: HMAC
// verification, de-duplication, a filter that reads the body, signing.
const flowFile = `sources:
  shop:
    provider: github
    secret: ${BENCH_SECRET}
destinations:
  erp:
    http:
      url: %s
      sign: { secret: ${BENCH_SIGNING_SECRET} }
    concurrency: %d
connections:
  shop-to-erp:
    from: shop
    to: erp
    types: [push]
    filter: data.action == "created" && double(data.total_price) >= 100.0
`

// system is a process under test.
type system struct {
	name    string
	url     string // where events are posted
	base    string // of the server
	data    string // file or folder where it keeps events; "" when it keeps none
	command *exec.Cmd
	exited  chan struct{}
	log     string
	began   time.Time     // when the process was started
	took    time.Duration // from then until it said where it listens
}

// listening finds where a process says that it listens.
var listening = regexp.MustCompile(`listening on (http://[0-9.:]+)`)

// start begins one of the variants, with an empty folder of its own.
func start(ctx context.Context, set *settings, name, target string) (*system, error) {
	dir := filepath.Join(set.dir, name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	switch name {
	case "relay":
		return launch(&system{name: name, log: dir + ".log"}, exec.CommandContext(ctx, self, "serve", name, target))
	case "append":
		file := filepath.Join(dir, "events")
		s := &system{name: name, data: file, log: dir + ".log"}
		return launch(s, exec.CommandContext(ctx, self, "serve", "append="+file, target))
	case "malote":
		return startMalote(ctx, set, dir, target)
	default:
		return nil, fmt.Errorf("there is no variant %q: use relay, append, malote", name)
	}
}

// startMalote begins the program on the data in dir, with the benchmark's own flow.
func startMalote(ctx context.Context, set *settings, dir, target string) (*system, error) {
	return startFlow(ctx, set, dir, maloteFlow(target))
}

// maloteFlow is the flow that leads all events to one target.
func maloteFlow(target string) string { return fmt.Sprintf(flowFile, target, concurrency) }

// startFlow begins the program on the data in dir, and has it apply a flow, unless that
// is empty.
func startFlow(ctx context.Context, set *settings, dir, flow string) (*system, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	args := []string{"serve", "--data", dir, "--listen", loopback, "--allow-private", "127.0.0.0/8"}
	if flow != "" {
		file := dir + ".yaml"
		if err := os.WriteFile(file, []byte(flow), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--flows", file)
	}
	command := exec.CommandContext(ctx, set.binary, args...)
	command.Env = append(os.Environ(), "BENCH_SECRET="+secret, "BENCH_SIGNING_SECRET="+signingSecret())
	s, err := launch(&system{name: filepath.Base(dir), data: dir, log: dir + ".log"}, command)
	if err != nil {
		return nil, err
	}
	s.url = s.base + "/in/shop"
	return s, nil
}

// launch starts a process and waits for it to say where it listens.
func launch(s *system, command *exec.Cmd) (*system, error) {
	output, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	command.Stdout, command.Stderr = input, input
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	s.began = time.Now()
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.name, err)
	}
	_ = input.Close()
	s.command, s.exited = command, make(chan struct{})
	go func() {
		_ = command.Wait()
		close(s.exited)
	}()
	said := make(chan string, 1)
	go s.follow(output, said)
	select {
	case s.base = <-said:
		s.took = time.Since(s.began)
		s.url = s.base
		return s, nil
	case <-s.exited:
	case <-time.After(startTime):
		s.kill()
	}
	text, _ := os.ReadFile(s.log)
	return nil, fmt.Errorf("%s does not say where it listens:\n%s", s.name, text)
}

// follow keeps what a process prints, and passes on where it listens.
func (s *system) follow(output *os.File, said chan<- string) {
	defer func() { _ = output.Close() }()
	log, err := os.Create(s.log)
	if err != nil {
		return
	}
	defer func() { _ = log.Close() }()
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		_, _ = log.WriteString(lines.Text() + "\n")
		if found := listening.FindStringSubmatch(lines.Text()); found != nil && said != nil {
			said <- found[1]
			said = nil
		}
	}
}

// stop asks the process to end and waits until it has.
func (s *system) stop() error {
	_ = s.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		return nil
	case <-time.After(time.Minute):
		s.kill()
		return fmt.Errorf("%s did not stop within a minute", s.name)
	}
}

// kill ends the process at once.
func (s *system) kill() {
	_ = s.command.Process.Kill()
	<-s.exited
}

// cpu returns the time that the process has spent on the processors.
func (s *system) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.command.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the times of %s: %w", s.name, err)
	}
	// The name in parentheses may hold anything; user and system time are the 14th and
	// the 15th field, the 12th and the 13th after it (proc(5)).
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat is too short")
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	kernel, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+kernel) * time.Second / ticksPerSecond, err
}

// peak returns the most memory that the process has had resident, in bytes.
func (s *system) peak() (int64, error) { return s.memory("VmHWM:") }

// resident returns the memory that the process has resident now, in bytes.
func (s *system) resident() (int64, error) { return s.memory("VmRSS:") }

// memory reads one line of what the kernel says about the process's memory.
func (s *system) memory(name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of %s: %w", s.name, err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, name); found {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/PID/status does not say %s", name)
}

// size returns how many bytes the system keeps on the disk.
func (s *system) size() (int64, error) {
	if s.data == "" {
		return 0, nil
	}
	var total int64
	err := filepath.WalkDir(s.data, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to make a database newer than it is

	"malote.dev/malote/internal/hooktest"
)

func readReceipt(t *testing.T, resp *http.Response) receipt {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return receipt{status: resp.StatusCode, body: string(text)}
}

func TestRequestsThatCannotBeTaken(t *testing.T) {
	s, receiver := pipeline(t, retryNever, options{})
	huge := bytes.Repeat([]byte("x"), 2<<20)
	headers := http.Header{}
	hooktest.SignShopify(headers, hooktest.Sent{Secret: shopSecret, Type: "orders/create", ID: "huge"}, huge)
	if got := s.send("shop", headers, huge); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of 2 MiB is answered %d %s, want 413", got.status, got.body)
	}
	if got := s.send("nobody", http.Header{}, []byte("{}")); got.status != http.StatusNotFound {
		t.Errorf("an unknown source is answered %d %s, want 404", got.status, got.body)
	}
	if got := s.get("/in/shop", ""); got.status != http.StatusMethodNotAllowed {
		t.Errorf("GET is answered %d %s, want 405", got.status, got.body)
	}
	if got := s.send("shop", http.Header{}, []byte("{}")); got.status != http.StatusUnauthorized {
		t.Errorf("no signature is answered %d %s, want 401", got.status, got.body)
	}
	if receiver.Count() != 0 {
		t.Error("something was delivered")
	}
}

// TestASlowSenderIsCutOff sends a body byte by byte, as an attack does that wants to
// hold as many connections as it can.
func TestASlowSenderIsCutOff(t *testing.T) {
	t.Parallel()
	s, _ := pipeline(t, retryNever, options{})
	address, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "POST /in/shop HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
	began := time.Now()
	cut := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(conn).ReadString('\n')
		cut <- line
	}()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(2 * time.Minute); ; {
		select {
		case line := <-cut:
			if line != "" && !strings.Contains(line, " 408 ") {
				t.Errorf("the slow sender is answered %q, want 408", line)
			}
			t.Logf("cut off after %s", time.Since(began).Round(time.Second))
			return
		case <-ticker.C:
			_, _ = conn.Write([]byte("x")) // fails once the server has cut the connection
		case <-deadline:
			t.Fatal("the slow sender still has its connection after two minutes")
		}
	}
}

func TestASecondServerOnTheFolderIsRefused(t *testing.T) {
	s, receiver := pipeline(t, retryNever, options{})
	second := begin(t, options{dir: s.dir})
	<-second.exited
	if code := second.command.ProcessState.ExitCode(); code != 1 {
		t.Errorf("the second server ends with code %d, want 1", code)
	}
	if said := second.output.String(); !strings.Contains(said, s.dir) {
		t.Errorf("the second server does not name the folder that is in use:\n%s", said)
	}
	s.sendOrder("1009", 500)
	if err := receiver.Wait(t.Context(), 1); err != nil {
		t.Errorf("the first server was disturbed: %v", err)
	}
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	s := start(t, options{})
	if code := s.stop(); code != 0 {
		t.Fatalf("the server ends with code %d, want 0", code)
	}
	raised := 0
	err := filepath.WalkDir(s.dir, func(name string, _ fs.DirEntry, err error) error {
		if filepath.Ext(name) != ".db" {
			return err
		}
		db, err := sql.Open("sqlite", name)
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		raised++
		_, err = db.ExecContext(t.Context(), "PRAGMA user_version = 1000000")
		return err
	})
	if err != nil || raised == 0 {
		t.Fatalf("%d databases were raised to another version: %v", raised, err)
	}
	newer := begin(t, options{dir: s.dir})
	<-newer.exited
	if code := newer.command.ProcessState.ExitCode(); code != 1 {
		t.Errorf("the server ends with code %d, want 1", code)
	}
	if said := newer.output.String(); !strings.Contains(said, "newer") {
		t.Errorf("the server does not say that the database is newer:\n%s", said)
	}
}

func TestFlowsThatAreWrongAreExplained(t *testing.T) {
	s := start(t, options{})
	tests := map[string]struct {
		flow string
		want []string
	}{
		"unknown key": {
			"sources:\n  shop:\n    provder: shopify\n", []string{"flow.yaml:3", "provder", "provider"},
		},
		"bad filter": {
			"sources:\n  a: { verify: none }\ndestinations:\n  b: { http: { url: https://example.com } }\n" +
				"connections:\n  c:\n    from: a\n    to: b\n    filter: data.total >\n",
			[]string{"flow.yaml:9", "filter"},
		},
		"private address": {
			"destinations:\n  b:\n    http:\n      url: http://10.0.0.1/\n", []string{"flow.yaml:4", "--allow-private"},
		},
		"missing variable": {
			"sources:\n  shop:\n    provider: shopify\n    secret: ${E2E_NOT_SET}\n", []string{"flow.yaml:4", "E2E_NOT_SET"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := command(t, []string{"MALOTE_SERVER=" + s.url, "MALOTE_DATA=" + s.dir}, "apply", "-f", writeFlow(t, test.flow))
			if p.code != 1 {
				t.Errorf("exit code %d, want 1", p.code)
			}
			for _, want := range test.want {
				if !strings.Contains(p.err, want) {
					t.Errorf("the error does not say %q:\n%s%s", want, p.out, p.err)
				}
			}
		})
	}
	if p := s.cli("apply", "--no-such-flag"); p.code != 2 {
		t.Errorf("a wrong flag ends with code %d, want 2", p.code)
	}
}

func TestWhatIsExportedCanBeApplied(t *testing.T) {
	s, receiver := pipeline(t, retryNever, options{})
	exported := s.mustCLI("export")
	if strings.Contains(exported, shopSecret) || strings.Contains(exported, erpSecret) {
		t.Errorf("the export shows a secret:\n%s", exported)
	}
	for _, name := range []string{"shop", "erp", "orders-to-erp", receiver.URL()} {
		if !strings.Contains(exported, name) {
			t.Errorf("the export lacks %s:\n%s", name, exported)
		}
	}
}

// TestAFullDiskLosesNothing fills the file system under a server, sees that senders
// are told, gives it room again, and looks for every order that was acknowledged.
func TestAFullDiskLosesNothing(t *testing.T) {
	disk := smallDisk(t)
	s, receiver := pipeline(t, retrySoon, options{dir: filepath.Join(disk.dir, "data")})
	acknowledged := map[string]bool{}
	sent := 0
	send := func(padding int) int {
		sent++
		id := fmt.Sprintf("full-%d", sent)
		body := fmt.Appendf(nil, `{"id":%q,"total_price":"500.00","note":%q}`, id, strings.Repeat("x", padding))
		headers := http.Header{}
		hooktest.SignShopify(headers, hooktest.Sent{Secret: shopSecret, Type: "orders/create", ID: id}, body)
		got := s.send("shop", headers, body)
		if got.status == http.StatusOK {
			acknowledged[id] = true
		}
		return got.status
	}
	full := false
	for sent < 2000 && !full {
		switch status := send(64 << 10); status {
		case http.StatusOK:
		case http.StatusServiceUnavailable:
			full = true
		default:
			t.Fatalf("a sender is answered %d, want 200 or 503", status)
		}
	}
	if !full {
		t.Fatal("the disk did not become full")
	}
	t.Logf("the disk was full after %d orders", len(acknowledged))
	// Where a large order does not fit, small ones may, until nothing does.
	for s.get("/readyz", "").status != http.StatusServiceUnavailable {
		send(100)
		if sent > 20_000 {
			t.Fatal("/readyz is answered 200 on a full disk, want 503")
		}
	}
	t.Logf("nothing fitted after %d orders", len(acknowledged))
	disk.grow(t)
	eventually(t, func() bool { return send(100) == http.StatusOK },
		func() string { return "with room again, the sender is still refused" })
	waitForOrders(t, receiver, acknowledged)
	if bad := receiver.BadSignatures(); len(bad) > 0 {
		t.Errorf("%d deliveries are signed wrongly", len(bad))
	}
}

// waitForOrders waits until every order has been delivered.
func waitForOrders(t *testing.T, receiver *hooktest.Receiver, orders map[string]bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*waitTime)
	defer cancel()
	missing := len(orders)
	arrived := map[string]bool{}
	seen := 0
	err := receiver.WaitFor(ctx, func(requests []*hooktest.Request) bool {
		for ; seen < len(requests); seen++ {
			if id := orderID(requests[seen].Body); orders[id] && !arrived[id] {
				arrived[id] = true
				missing--
			}
		}
		return missing == 0
	})
	if err != nil {
		t.Errorf("%d of %d acknowledged orders never arrived: %v", missing, len(orders), err)
	}
}

// orderID reads the id of an order made by these tests.
func orderID(body []byte) string {
	_, rest, _ := bytes.Cut(body, []byte(`{"id":"`))
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(id)
}

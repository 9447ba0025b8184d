package interop_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"malote.dev/malote/internal/filter"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature"
)

// received is what Malote makes of a request that it has verified.
type received struct{ kind, id, key string }

// receive verifies r as the source does, and reads type, delivery id and key from it.
func receive(t testing.TB, compiled *signature.Verifier, r *request, now time.Time) received {
	t.Helper()
	ours := r.ours(now)
	verdict, err := compiled.Verify(context.Background(), ours)
	if err != nil || !verdict.Verified {
		t.Fatalf("not verified: %v", err)
	}
	in := filter.NewInput(&hook.Event{Method: ours.Method, Query: ours.Query, Headers: ours.Headers, Payload: ours.Body})
	spec := compiled.Spec()
	read := func(field *hook.Field) string {
		if field == nil {
			return ""
		}
		text, _ := in.Field(field)
		return text
	}
	got := received{kind: read(spec.Type), key: read(spec.Key)}
	if spec.Dedupe != nil {
		got.id = read(&spec.Dedupe.Field)
	}
	return got
}

// TestGitHubPayloads has GitHub's own library sign all of GitHub's own examples.
func TestGitHubPayloads(t *testing.T) {
	t.Parallel()
	n := needNode(t)
	text, err := os.ReadFile(filepath.Join("npm", "node_modules", "@octokit", "webhooks-examples", "api.github.com", "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var events []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(text, &events); err != nil {
		t.Fatal(err)
	}
	compiled := verifier(t, &hook.SourceSpec{Provider: "github", Secret: secret}, nil)
	count := 0
	for _, event := range events {
		for i, example := range event.Examples {
			count++
			r := newRequest(address, string(example))
			delivery := fmt.Sprintf("%s-%d", event.Name, i)
			r.header.Set("X-GitHub-Event", event.Name)
			r.header.Set("X-GitHub-Delivery", delivery)
			q := npmQuestion("octokit", secret, r)
			q.Op = "sign"
			r.header.Set("X-Hub-Signature-256", n.ask(q).Headers["x-hub-signature-256"])

			got := receive(t, compiled, r, time.Now())
			want := received{kind: event.Name, id: delivery, key: gjson.GetBytes(example, "repository.full_name").String()}
			if want.key == "" {
				want.key = gjson.GetBytes(example, "organization.login").String()
			}
			if got != want {
				t.Errorf("%s: read %+v, want %+v", delivery, got, want)
			}
		}
	}
	if count < 329 {
		t.Errorf("%d payloads, want at least 329", count)
	}
}

// TestForgePayloads signs the recorded payloads of go-playground/webhooks as their
// senders do.
func TestForgePayloads(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/go-playground/webhooks/v6").Output()
	if err != nil {
		t.Fatal(err)
	}
	testdata := filepath.Join(strings.TrimSpace(string(out)), "testdata")
	for _, forge := range []struct {
		folder, provider string
		least            int
		sign             func(r *request, delivery string)
		key              string
	}{
		{"github", "github", 48, func(r *request, delivery string) {
			r.header.Set("X-GitHub-Event", "push")
			r.header.Set("X-GitHub-Delivery", delivery)
			r.header.Set("X-Hub-Signature-256", "sha256="+hex256(secret, string(r.body)))
		}, "repository.full_name"},
		{"gitea", "gitea", 17, func(r *request, delivery string) {
			r.header.Set("X-Gitea-Event", "push")
			r.header.Set("X-Gitea-Delivery", delivery)
			r.header.Set("X-Gitea-Signature", hex256(secret, string(r.body)))
		}, "repository.full_name"},
		{"gitlab", "gitlab", 39, func(r *request, delivery string) {
			r.header.Set("X-Gitlab-Event", "push")
			r.header.Set("Idempotency-Key", delivery)
			r.header.Set("X-Gitlab-Token", secret)
		}, "project.path_with_namespace"},
		{"bitbucket", "bitbucket", 18, func(r *request, delivery string) {
			r.header.Set("X-Event-Key", "push")
			r.header.Set("X-Request-UUID", delivery)
			r.header.Set("X-Hub-Signature", "sha256="+hex256(secret, string(r.body)))
		}, "repository.full_name"},
	} {
		t.Run(forge.folder, func(t *testing.T) {
			t.Parallel()
			compiled := verifier(t, &hook.SourceSpec{Provider: forge.provider, Secret: secret}, nil)
			files, err := filepath.Glob(filepath.Join(testdata, forge.folder, "*.json"))
			if err != nil || len(files) < forge.least {
				t.Fatalf("%d files, want at least %d (%v)", len(files), forge.least, err)
			}
			keyed := 0
			for _, file := range files {
				body, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				r := newRequest(address, string(body))
				delivery := hex.EncodeToString([]byte(filepath.Base(file)))
				forge.sign(r, delivery)
				got := receive(t, compiled, r, time.Now())
				if got.kind != "push" || got.id != delivery {
					t.Errorf("%s: read %+v", filepath.Base(file), got)
				}
				if key := gjson.GetBytes(body, forge.key).String(); key != "" {
					keyed++
					if got.key != key {
						t.Errorf("%s: key %q, want %q", filepath.Base(file), got.key, key)
					}
				}
			}
			if keyed == 0 {
				t.Errorf("no payload has a key at %s", forge.key)
			}
		})
	}
}

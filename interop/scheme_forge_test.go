package interop_test

import (
	"time"

	bitbucketserver "github.com/go-playground/webhooks/v6/bitbucket-server"
	"github.com/go-playground/webhooks/v6/gitea"
	"github.com/go-playground/webhooks/v6/gitlab"
)

// forgeSchemes are those of the code forges, held to go-playground/webhooks.
func forgeSchemes() []scheme {
	const push = `{"ref":"refs/heads/main","after":"bffeb74224043ba2feb48d137756c8a9331c1042"}`
	return []scheme{
		{
			provider: "gitlab", body: push, bodyFree: true, header: "X-Gitlab-Token",
			sign: func(r *request, _ time.Time) {
				r.header.Set("X-Gitlab-Event", "Push Hook")
				r.header.Set("X-Gitlab-Token", secret)
			},
			libraries: map[string]library{"go webhooks": func(secret string, r *request) error {
				parser, err := gitlab.New(gitlab.Options.Secret(secret))
				if err != nil {
					return err
				}
				_, err = parser.Parse(r.http(), gitlab.PushEvents)
				return err
			}},
		},
		{
			provider: "gitea", body: push, header: "X-Gitea-Signature",
			sign: func(r *request, _ time.Time) {
				r.header.Set("X-Gitea-Event", "push")
				r.header.Set("X-Gitea-Signature", hex256(secret, string(r.body)))
			},
			libraries: map[string]library{"go webhooks": func(secret string, r *request) error {
				parser, err := gitea.New(gitea.Options.Secret(secret))
				if err != nil {
					return err
				}
				_, err = parser.Parse(r.http(), gitea.PushEvent)
				return err
			}},
		},
		{
			provider: "bitbucket", body: push, header: "X-Hub-Signature",
			sign: func(r *request, _ time.Time) {
				r.header.Set("X-Event-Key", "repo:refs_changed")
				r.header.Set("X-Hub-Signature", "sha256="+hex256(secret, string(r.body)))
			},
			libraries: map[string]library{"go webhooks": func(secret string, r *request) error {
				parser, err := bitbucketserver.New(bitbucketserver.Options.Secret(secret))
				if err != nil {
					return err
				}
				_, err = parser.Parse(r.http(), bitbucketserver.RepositoryReferenceChangedEvent)
				return err
			}},
		},
	}
}

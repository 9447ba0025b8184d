package api

import (
	"context"
	"net/http"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
)

// ProjectIn is what a person sets on a project.
type ProjectIn struct {
	Name    string `json:"name,omitempty" doc:"Unique. A change may leave it out"`
	Version int64  `json:"version,omitempty" doc:"The version that a change starts from; another one is a conflict"`
	hook.ProjectSpec
}

func projectRoutes() []*endpoint {
	return []*endpoint{
		{
			method: http.MethodGet, path: "/project", id: "project.list", role: hook.RoleAdmin, global: true,
			summary: "List projects", bind: handle((*server).listProjects),
		},
		{
			method: http.MethodPost, path: "/project", id: "project.create", role: hook.RoleAdmin, global: true, status: http.StatusCreated,
			summary: "Create a project", more: "Create its first token with the header malote-project.",
			in: ProjectIn{}, bind: handle((*server).createProject),
		},
		{
			method: http.MethodGet, path: "/project/{id}", id: "project.get", role: hook.RoleAdmin, global: true,
			summary: "Get a project", bind: handle((*server).getProject),
		},
		{
			method: http.MethodPatch, path: "/project/{id}", id: "project.patch", role: hook.RoleAdmin, global: true,
			summary: "Change parts of a project", more: patchText, in: ProjectIn{}, bind: handle((*server).patchProject),
		},
	}
}

type listProjectsIn struct{ Paging }

func (s *server) listProjects(ctx context.Context, in *listProjectsIn) (*out[List[hook.Project]], error) {
	req, err := pageOf(in.Paging, hook.ParseID[hook.ProjectID])
	if err != nil {
		return nil, err
	}
	found, err := s.Store.Projects().List(ctx, 0, req)
	if err != nil {
		return nil, err
	}
	return listOf[hook.ProjectID](found, func(p *hook.Project) hook.Project { return *p }), nil
}

func (s *server) getProject(ctx context.Context, in *oneNoun) (*versioned[hook.Project], error) {
	project, err := s.Store.Projects().Get(ctx, 0, in.ID)
	if err != nil {
		return nil, err
	}
	return answerVersion(project.Version, project), nil
}

func (s *server) createProject(ctx context.Context, in *bodyOnly) (*versioned[hook.Project], error) {
	var given ProjectIn
	if err := body.Decode(in.RawBody, &given); err != nil {
		return nil, err
	}
	if err := hook.Invalid("the project cannot be saved", checkName(given.Name)); err != nil {
		return nil, err
	}
	project := hook.Project{Name: given.Name, ProjectSpec: given.ProjectSpec}
	if err := s.Store.Projects().Create(ctx, &project); err != nil {
		return nil, err
	}
	if err := s.changed(ctx, "created a project", project.ID); err != nil {
		return nil, err
	}
	return answerVersion(project.Version, project), nil
}

func (s *server) patchProject(ctx context.Context, in *nounChange) (*versioned[hook.Project], error) {
	project, err := s.Store.Projects().Get(ctx, 0, in.ID)
	if err != nil {
		return nil, err
	}
	var given ProjectIn
	if err := body.Patch(ProjectIn{Name: project.Name, ProjectSpec: project.ProjectSpec}, in.RawBody, nil, &given); err != nil {
		return nil, err
	}
	if err := expect(project.Version, given.Version, in.IfMatch.IfMatch); err != nil {
		return nil, err
	}
	problems := checkName(given.Name)
	if project.ID == s.home && given.Name != route.DefaultProject {
		problems = append(problems, hook.Problem{Path: "name", Message: "the project default keeps its name: its admins manage all others"})
	}
	if err := hook.Invalid("the project cannot be saved", problems); err != nil {
		return nil, err
	}
	project.Name, project.ProjectSpec = given.Name, given.ProjectSpec
	if err := s.Store.Projects().Update(ctx, &project); err != nil {
		return nil, err
	}
	if err := s.changed(ctx, "changed a project", project.ID); err != nil {
		return nil, err
	}
	return answerVersion(project.Version, project), nil
}

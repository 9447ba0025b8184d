package api

import (
	"context"
	"net/http"

	"malote.dev/malote/internal/api/body"
	"malote.dev/malote/internal/api/rest"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
)

// ProjectIn is what a person sets on a project.
type ProjectIn struct {
	Name    string `json:"name,omitempty" doc:"Unique. A change may leave it out"`
	Version int64  `json:"version,omitempty" doc:"The version that a change starts from; another one is a conflict"`
	hook.ProjectSpec
}

func (s *server) projectRoutes() []*rest.Route {
	return []*rest.Route{
		{
			Method: http.MethodGet, Path: "/project", ID: "project.list", Role: hook.RoleAdmin, Global: true,
			Summary: "List projects", Bind: rest.Handle(s.listProjects),
		},
		{
			Method: http.MethodPost, Path: "/project", ID: "project.create", Role: hook.RoleAdmin, Global: true, Status: http.StatusCreated,
			Summary: "Create a project", More: "Create its first token with the header malote-project.",
			In: ProjectIn{}, Bind: rest.Handle(s.createProject),
		},
		{
			Method: http.MethodGet, Path: "/project/{id}", ID: "project.get", Role: hook.RoleAdmin, Global: true,
			Summary: "Get a project", Bind: rest.Handle(s.getProject),
		},
		{
			Method: http.MethodPatch, Path: "/project/{id}", ID: "project.patch", Role: hook.RoleAdmin, Global: true,
			Summary: "Change parts of a project", More: patchText, In: ProjectIn{}, Bind: rest.Handle(s.patchProject),
		},
	}
}

type listProjectsIn struct{ rest.Paging }

func (s *server) listProjects(ctx context.Context, in *listProjectsIn) (*rest.Out[rest.List[hook.Project]], error) {
	req, err := rest.PageOf(in.Paging, hook.ParseID[hook.ProjectID])
	if err != nil {
		return nil, err
	}
	found, err := s.Store.Projects().List(ctx, 0, req)
	if err != nil {
		return nil, err
	}
	return rest.ListOf[hook.ProjectID](found, func(p *hook.Project) hook.Project { return *p }), nil
}

func (s *server) getProject(ctx context.Context, in *rest.One) (*rest.Versioned[hook.Project], error) {
	project, err := s.Store.Projects().Get(ctx, 0, in.ID)
	if err != nil {
		return nil, err
	}
	return rest.AnswerVersion(project.Version, project), nil
}

func (s *server) createProject(ctx context.Context, in *rest.BodyOnly) (*rest.Versioned[hook.Project], error) {
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
	return rest.AnswerVersion(project.Version, project), nil
}

func (s *server) patchProject(ctx context.Context, in *rest.Change) (*rest.Versioned[hook.Project], error) {
	project, err := s.Store.Projects().Get(ctx, 0, in.ID)
	if err != nil {
		return nil, err
	}
	var given ProjectIn
	if err := body.Patch(ProjectIn{Name: project.Name, ProjectSpec: project.ProjectSpec}, in.RawBody, nil, &given); err != nil {
		return nil, err
	}
	if err := rest.Expect(project.Version, given.Version, in.IfMatch.IfMatch); err != nil {
		return nil, err
	}
	problems := checkName(given.Name)
	if project.ID == s.home.ID && given.Name != route.DefaultProject {
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
	return rest.AnswerVersion(project.Version, project), nil
}

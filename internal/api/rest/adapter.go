package rest

import (
	"context"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"malote.dev/malote/internal/hook"
)

// Prefix begins the path of every route.
const Prefix = "/api/v1"

// Route is one operation of the API.
type Route struct {
	Method  string
	Path    string // below Prefix
	ID      string // the operation's id: "source.create"
	Summary string
	More    string // further sentences; "" for none
	Role    hook.Role
	Status  int    // of success; 0: 200, or 204 when there is no body
	Global  bool   // only for admins of the default project
	Stream  bool   // answers for as long as the caller listens
	In      any    // a zero value of the type of the request's body; nil: none
	Empty   bool   // the body may be left out
	MaxBody int64  // bytes; 0: one MiB
	Answers string // media type of an answer that is not JSON
	Bind    Binder // Handle or Raw of the handler

	Bodies map[int]any // zero values of the answers' types by status, where a handler has several

	Reveals   bool   // it shows a secret: successful calls are audited, although they change nothing
	Unaudited string // why calls that are no GET are not audited; "": they are
}

// tag groups the operations of a noun in the description.
func (e *Route) tag() string {
	for i := 1; i < len(e.Path); i++ {
		if e.Path[i] == '/' {
			return e.Path[1:i]
		}
	}
	return e.Path[1:]
}

// Binder registers a route with the adapter.
type Binder func(s *Server, api huma.API, operation huma.Operation)

// Handle binds a handler whose input and output are described by its types: fields
// with the tags path, query and header, RawBody, and Body.
func Handle[I, O any](handler func(context.Context, *I) (*O, error)) Binder {
	return func(s *Server, api huma.API, operation huma.Operation) {
		huma.Register(api, operation, func(ctx context.Context, in *I) (*O, error) {
			out, err := handler(ctx, in)
			if err != nil {
				return nil, s.report(ctx, err)
			}
			return out, nil
		})
	}
}

// Raw binds a handler that writes its answer by itself; I is the struct that describes
// its parameters.
func Raw[I any](handler func(http.ResponseWriter, *http.Request) error) Binder {
	return func(s *Server, api huma.API, operation huma.Operation) {
		type nothing struct{}
		// Registering with an API that routes nothing describes the parameters; then the
		// handler is put in place of the one that would have read them.
		documented := describer{API: api, operation: &operation}
		huma.Register(documented, operation, func(context.Context, *I) (*nothing, error) { return nil, nil })
		chain := api.Middlewares().Handler(operation.Middlewares.Handler(func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			if err := handler(w, r); err != nil {
				writeProblem(w, s.report(r.Context(), err))
			}
		}))
		api.Adapter().Handle(&operation, chain)
	}
}

// describer is an API that documents operations and routes nothing.
type describer struct {
	huma.API

	operation *huma.Operation
}

// Adapter returns one that ignores the handler.
func (d describer) Adapter() huma.Adapter { return unrouted{d.API.Adapter()} }

type unrouted struct{ huma.Adapter }

// Handle implements huma.Adapter.
func (unrouted) Handle(*huma.Operation, func(huma.Context)) {}

// register puts the route into the router and the description.
func (e *Route) register(s *Server, api huma.API) {
	operation := huma.Operation{
		OperationID: e.ID, Method: e.Method, Path: Prefix + e.Path,
		Summary: e.Summary, Description: e.description(), Tags: []string{e.tag()},
		DefaultStatus: e.Status,
		Errors: []int{
			http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict,
			http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
			http.StatusInternalServerError, http.StatusServiceUnavailable,
		},
		MaxBodyBytes:     e.bodyLimit() + 1, // the adapter refuses what reaches its limit
		BodyReadTimeout:  bodyTimeout,
		SkipValidateBody: true, // package body reads bodies, with better words
		Extensions:       map[string]any{"x-role": string(e.Role)},
	}
	operation.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		request, writer := humago.Unwrap(ctx)
		s.guard(e, func(w http.ResponseWriter, request *http.Request) {
			next(humago.NewContext(ctx.Operation(), request, w))
		})(writer, request)
	}}
	e.Bind(s, api, operation)
	e.describe(api)
}

func (e *Route) description() string {
	text := "Needs the role " + string(e.Role) + "."
	if e.Global {
		text = "Needs the role " + string(e.Role) + " in the default project."
	}
	if e.More != "" {
		text = e.More + "\n\n" + text
	}
	return text
}

// describe corrects what the adapter cannot know: the type of the body, which the
// handler reads by itself, and the two forms of errors.
func (e *Route) describe(api huma.API) {
	registry := api.OpenAPI().Components.Schemas
	operation := operationOf(api.OpenAPI().Paths[Prefix+e.Path], e.Method)
	if e.In != nil {
		schema := registry.Schema(reflect.TypeOf(e.In), true, e.ID)
		if e.Method == http.MethodPatch {
			schema = patchSchema(registry, reflect.TypeOf(e.In))
		}
		operation.RequestBody = &huma.RequestBody{
			Required: !e.Empty, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}},
		}
	}
	validation := registry.Schema(reflect.TypeFor[ValidationErrorOut](), true, "")
	operation.Responses[strconv.Itoa(http.StatusUnprocessableEntity)].Content["application/json"].Schema = validation
	if e.Answers != "" {
		status := strconv.Itoa(max(e.Status, http.StatusOK))
		operation.Responses[status] = &huma.Response{
			Description: http.StatusText(http.StatusOK),
			Content:     map[string]*huma.MediaType{e.Answers: {Schema: &huma.Schema{Type: huma.TypeString}}},
		}
		delete(operation.Responses, strconv.Itoa(http.StatusNoContent))
	}
	for status, body := range e.Bodies {
		operation.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(reflect.TypeOf(body), true, e.ID)}},
		}
	}
	if e.Method == http.MethodPost {
		operation.Parameters = append(operation.Parameters, header("idempotency-key",
			"Repeats of the request with the same key get the first answer, for twelve hours"))
	}
	operation.Parameters = append(operation.Parameters, header(projectHeader,
		"For admins of the default project: the project to work in, by id or name"))
}

func header(name, description string) *huma.Param {
	return &huma.Param{Name: name, In: "header", Description: description, Schema: &huma.Schema{Type: huma.TypeString}}
}

func operationOf(item *huma.PathItem, method string) *huma.Operation {
	switch method {
	case http.MethodGet:
		return item.Get
	case http.MethodPost:
		return item.Post
	case http.MethodPut:
		return item.Put
	case http.MethodPatch:
		return item.Patch
	default:
		return item.Delete
	}
}

// bodyLimit is how many bytes the route's body may have.
func (e *Route) bodyLimit() int64 {
	if e.MaxBody > 0 {
		return e.MaxBody
	}
	return maxBody
}

// newAdapter returns the adapter over the mux, with all routes in it.
func newAdapter(s *Server, mux *http.ServeMux) huma.API {
	config := huma.DefaultConfig(s.options.Title, s.options.Version)
	config.CreateHooks = nil // no $schema in bodies, no Link to it
	config.DocsPath, config.SchemasPath, config.OpenAPIPath = "", "", ""
	config.Info.Description = s.options.About
	config.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	config.Components = &huma.Components{
		Schemas:         newRegistry(),
		SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}},
	}
	config.Security = []map[string][]string{{"token": {}}}
	api := humago.New(mux, config)
	for _, e := range s.options.Routes {
		e.register(s, api)
	}
	return api
}

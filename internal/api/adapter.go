package api

import (
	"context"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"malote.dev/malote/internal/hook"
)

// prefix begins the path of every route.
const prefix = "/api/v1"

// endpoint is one route of the API.
type endpoint struct {
	method  string
	path    string // below prefix
	id      string // the operation's id: "source.create"
	summary string
	more    string // further sentences; "" for none
	role    hook.Role
	status  int  // of success; 0: 200
	global  bool // only for admins of the default project
	stream  bool // answers for as long as the caller listens
	in      any  // a zero value of the type of the request's body; nil: none
	empty   bool // the body may be left out
	maxBody int64
	answers string // media type of an answer that is not JSON
	bind    binder
}

// tag groups the operations of a noun in the description.
func (e *endpoint) tag() string {
	for i := 1; i < len(e.path); i++ {
		if e.path[i] == '/' {
			return e.path[1:i]
		}
	}
	return e.path[1:]
}

// binder registers a route with the adapter.
type binder func(s *server, api huma.API, operation huma.Operation)

// handle binds a handler whose input and output are described by its types: fields
// with the tags path, query and header, RawBody, and Body.
func handle[I, O any](handler func(*server, context.Context, *I) (*O, error)) binder {
	return func(s *server, api huma.API, operation huma.Operation) {
		huma.Register(api, operation, func(ctx context.Context, in *I) (*O, error) {
			out, err := handler(s, ctx, in)
			if err != nil {
				return nil, s.report(ctx, err)
			}
			return out, nil
		})
	}
}

// raw binds a handler that writes its answer by itself; params is a zero value of
// the struct that describes its parameters.
func raw[I any](handler func(*server, http.ResponseWriter, *http.Request) error) binder {
	return func(s *server, api huma.API, operation huma.Operation) {
		type nothing struct{}
		// Registering with an API of its own describes the parameters; the handler is
		// then put in place of the one that would have read them.
		documented := describer{API: api, operation: &operation}
		huma.Register(documented, operation, func(context.Context, *I) (*nothing, error) { return nil, nil })
		chain := api.Middlewares().Handler(operation.Middlewares.Handler(func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			if err := handler(s, w, r); err != nil {
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
func (e *endpoint) register(s *server, api huma.API) {
	operation := huma.Operation{
		OperationID: e.id, Method: e.method, Path: prefix + e.path,
		Summary: e.summary, Description: e.description(), Tags: []string{e.tag()},
		DefaultStatus: e.status,
		Errors: []int{
			http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict,
			http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
			http.StatusInternalServerError, http.StatusServiceUnavailable,
		},
		MaxBodyBytes:     e.bodyLimit() + 1, // the adapter refuses what reaches its limit
		BodyReadTimeout:  bodyTimeout,
		SkipValidateBody: true, // package body reads bodies, with better words
		Extensions:       map[string]any{"x-role": string(e.role)},
	}
	operation.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		request, writer := humago.Unwrap(ctx)
		s.guard(e, func(w http.ResponseWriter, request *http.Request) {
			next(humago.NewContext(ctx.Operation(), request, w))
		})(writer, request)
	}}
	e.bind(s, api, operation)
	e.describe(api)
}

func (e *endpoint) description() string {
	text := "Needs the role " + string(e.role) + "."
	if e.global {
		text = "Needs the role " + string(e.role) + " in the default project."
	}
	if e.more != "" {
		text = e.more + "\n\n" + text
	}
	return text
}

// describe corrects what the adapter cannot know: the type of the body, which the
// handler reads by itself, and the two forms of errors.
func (e *endpoint) describe(api huma.API) {
	registry := api.OpenAPI().Components.Schemas
	operation := operationOf(api.OpenAPI().Paths[prefix+e.path], e.method)
	if e.in != nil {
		schema := registry.Schema(reflect.TypeOf(e.in), true, e.id)
		if e.method == http.MethodPatch {
			schema = patchSchema(registry, reflect.TypeOf(e.in))
		}
		operation.RequestBody = &huma.RequestBody{
			Required: !e.empty, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}},
		}
	}
	validation := registry.Schema(reflect.TypeFor[ValidationErrorOut](), true, "")
	operation.Responses[strconv.Itoa(http.StatusUnprocessableEntity)].Content["application/json"].Schema = validation
	if e.answers != "" {
		status := strconv.Itoa(max(e.status, http.StatusOK))
		operation.Responses[status] = &huma.Response{
			Description: http.StatusText(http.StatusOK),
			Content:     map[string]*huma.MediaType{e.answers: {Schema: &huma.Schema{Type: huma.TypeString}}},
		}
		delete(operation.Responses, strconv.Itoa(http.StatusNoContent))
	}
	if e.method == http.MethodPost {
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
func (e *endpoint) bodyLimit() int64 {
	if e.maxBody > 0 {
		return e.maxBody
	}
	return maxBody
}

// newAdapter returns the adapter over the mux, with all routes in it.
func newAdapter(s *server, mux *http.ServeMux, version string) huma.API {
	config := huma.DefaultConfig("Malote", version)
	config.CreateHooks = nil // no $schema in bodies, no Link to it
	config.DocsPath, config.SchemasPath, config.OpenAPIPath = "", "", ""
	config.Info.Description = "Receives, routes and delivers webhooks. Lists come in pages: pass the iterator of one to get the next."
	config.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	config.Components = &huma.Components{
		Schemas:         newRegistry(),
		SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}},
	}
	config.Security = []map[string][]string{{"token": {}}}
	api := humago.New(mux, config)
	for _, e := range s.routes {
		e.register(s, api)
	}
	return api
}

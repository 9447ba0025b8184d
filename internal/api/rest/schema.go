package rest

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"malote.dev/malote/internal/flow"
	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/profiles"
	"malote.dev/malote/internal/strict"
)

// The types below stand in for domain types when the description is generated: the
// domain says how its values look in JSON by its own methods, which a generator
// cannot read.

// secretSchema describes hook.Secret.
type secretSchema struct{}

// Schema implements the generator's interface.
func (secretSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, WriteOnly: true, Description: "A secret: accepted, never shown"}
}

// durationSchema describes hook.Duration.
type durationSchema struct{}

// Schema implements the generator's interface.
func (durationSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Description: "A duration, such as 5s, 10m, 2h or 30d", Examples: []any{"30s"}}
}

// rateSchema describes hook.Rate.
type rateSchema struct{}

// Schema implements the generator's interface.
func (rateSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Description: "A rate, such as 50/s, 600/m or 1000/h", Examples: []any{"50/s"}}
}

// stateSchema describes hook.State.
type stateSchema struct{}

// Schema implements the generator's interface.
func (stateSchema) Schema(huma.Registry) *huma.Schema {
	states := make([]any, 0, int(hook.StateCanceled))
	for state := hook.StatePending; state <= hook.StateCanceled; state++ {
		states = append(states, state.String())
	}
	return &huma.Schema{Type: huma.TypeString, Enum: states}
}

// causeSchema describes hook.Cause.
type causeSchema struct{}

// Schema implements the generator's interface.
func (causeSchema) Schema(huma.Registry) *huma.Schema {
	causes := make([]any, 0, int(hook.CauseParked))
	for cause := hook.CausePaused; cause <= hook.CauseParked; cause++ {
		causes = append(causes, cause.String())
	}
	return &huma.Schema{Type: huma.TypeString, Enum: causes}
}

// circuitStateSchema describes hook.CircuitState.
type circuitStateSchema struct{}

// Schema implements the generator's interface.
func (circuitStateSchema) Schema(huma.Registry) *huma.Schema {
	states := make([]any, 0, int(hook.CircuitRamp)+1)
	for state := hook.CircuitClosed; state <= hook.CircuitRamp; state++ {
		states = append(states, state.String())
	}
	return &huma.Schema{Type: huma.TypeString, Enum: states}
}

// roleSchema describes hook.Role.
type roleSchema struct{}

// Schema implements the generator's interface.
func (roleSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Enum: []any{string(hook.RoleViewer), string(hook.RoleOperator), string(hook.RoleAdmin)}}
}

// fieldSchema describes hook.Field: a text is a constant.
type fieldSchema struct{}

// Schema implements the generator's interface.
func (fieldSchema) Schema(registry huma.Registry) *huma.Schema {
	type Field hook.Field
	return textOr(registry.Schema(reflect.TypeFor[Field](), true, ""), "A constant")
}

// signSchema describes hook.Sign: a text names the scheme.
type signSchema struct{}

// Schema implements the generator's interface.
func (signSchema) Schema(registry huma.Registry) *huma.Schema {
	type Sign hook.Sign
	return textOr(registry.Schema(reflect.TypeFor[Sign](), true, ""), `The name of a scheme, or "none"`)
}

// verifySchema describes hook.Verify: the text none switches verification off.
type verifySchema struct{}

// Schema implements the generator's interface.
func (verifySchema) Schema(registry huma.Registry) *huma.Schema {
	type Verify hook.Verify
	return textOr(registry.Schema(reflect.TypeFor[Verify](), true, ""), `The text "none": nothing is checked`)
}

func textOr(object *huma.Schema, description string) *huma.Schema {
	return &huma.Schema{AnyOf: []*huma.Schema{{Type: huma.TypeString, Description: description}, object}}
}

// newRegistry returns the registry of schemas with the stand-ins above.
func newRegistry() huma.Registry {
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	for _, alias := range []struct{ of, is reflect.Type }{
		{reflect.TypeFor[hook.Secret](), reflect.TypeFor[secretSchema]()},
		{reflect.TypeFor[hook.Duration](), reflect.TypeFor[durationSchema]()},
		{reflect.TypeFor[hook.Rate](), reflect.TypeFor[rateSchema]()},
		{reflect.TypeFor[hook.State](), reflect.TypeFor[stateSchema]()},
		{reflect.TypeFor[hook.Cause](), reflect.TypeFor[causeSchema]()},
		{reflect.TypeFor[hook.CircuitState](), reflect.TypeFor[circuitStateSchema]()},
		{reflect.TypeFor[hook.Role](), reflect.TypeFor[roleSchema]()},
		{reflect.TypeFor[hook.Field](), reflect.TypeFor[fieldSchema]()},
		{reflect.TypeFor[hook.Sign](), reflect.TypeFor[signSchema]()},
		{reflect.TypeFor[hook.Verify](), reflect.TypeFor[verifySchema]()},
	} {
		registry.RegisterTypeAlias(alias.of, alias.is)
	}
	return registry
}

// schemaName names the schema of a type; types whose package gives their name its
// meaning have the package's in front.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.PkgPath() {
	case reflect.TypeFor[flow.State]().PkgPath():
		return "Flow" + name
	case reflect.TypeFor[profiles.Profile]().PkgPath():
		return "Provider" + name
	default:
		return name
	}
}

// patchSchema describes a merge patch of a type: its members, each as in the type or null.
func patchSchema(registry huma.Registry, t reflect.Type) *huma.Schema {
	registry.Schema(t, true, "") // the description refers to it
	schema := &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: false, Properties: map[string]*huma.Schema{},
		Description: "A JSON merge patch of " + t.Name(),
	}
	for _, field := range strict.Fields(t) {
		schema.Properties[field.Name] = &huma.Schema{Description: "As in " + t.Name() + ", or parts of it, or null"}
	}
	return schema
}

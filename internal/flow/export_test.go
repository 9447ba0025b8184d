package flow

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/strict"
)

func TestExport(t *testing.T) {
	catalogue := applied(hook.Catalogue{}, mustPlan(t, example, hook.Catalogue{}, false))
	for i := range catalogue.Destinations {
		if headers := catalogue.Destinations[i].HTTP.Headers; headers != nil {
			headers["X-Api-Key"] = "k3y" // a secret by its name
		}
	}
	catalogue.Sources = append(catalogue.Sources, hook.Source{Project: project + 1, Name: "foreign"})
	got, err := Export(project, catalogue)
	if err != nil {
		t.Fatal(err)
	}
	want := `# Written by malote export. Secrets are not in this file: set these variables before
# it is applied, or write ${file:/path} in their place.
#
#   METER_TOKEN_SECRET  sources.meter.verify.token.secret
#   SHOP_SECRET  sources.shop.secret
#   ERP_HEADERS_X_API_KEY  destinations.erp.http.headers.X-Api-Key
#   ERP_AUTH_BEARER  destinations.erp.http.auth.bearer
#   ERP_SIGN_SECRET  destinations.erp.http.sign.secret

sources:
  bare: {}
  meter:
    verify:
      token:
        header: x-token
        secret: ${METER_TOKEN_SECRET}
    type:
      header: x-type
    dedupe:
      path: id
      window: 1d
  open:
    verify: none
    type: ping
  shop:
    provider: shopify
    secret: ${SHOP_SECRET}
destinations:
  audit:
    http:
      url: https://audit.example.com/
      sign: none
  erp:
    http:
      url: https://erp.example.com/orders
      headers:
        X-Api-Key: ${ERP_HEADERS_X_API_KEY}
        x-version: '2'
      auth:
        bearer: ${ERP_AUTH_BEARER}
      sign:
        secret: ${ERP_SIGN_SECRET}
      timeout: 15s
    rate: 50/s
    concurrency: 8
connections:
  orders-to-erp:
    from: shop
    to: erp
    types: [orders/*]
    filter: double(data.total_price) >= 100.0
    retry:
      schedule: [5s, 1m, 10m, 1h, 6h, 1d]
      jitter: 0
    order:
      key: data.customer.id
      stuck: park
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	for _, secret := range []string{"shh", "whsec_", "k3y"} {
		if strings.Contains(string(got), secret) {
			t.Errorf("the file holds the secret %q", secret)
		}
	}
	if empty, err := Export(project, hook.Catalogue{}); err != nil || len(mustParse(t, string(empty)).State().Sources) != 0 {
		t.Errorf("an empty catalogue: %q, %v", empty, err)
	}
}

// Whatever a catalogue holds, Export writes a file that Parse reads back to a plan
// without changes, and that has no secret in it.
func TestExportRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := State{
			Sources:      drawParts[hook.SourceSpec](t, "source"),
			Destinations: drawParts[hook.DestinationSpec](t, "destination"),
			Connections:  map[string]ConnectionSpec{},
		}
		for name, spec := range state.Sources {
			spec.System = false // no flow makes one
			state.Sources[name] = spec
		}
		for name, spec := range drawParts[hook.ConnectionSpec](t, "connection") {
			from := rapid.SampledFrom(names(state.Sources)).Draw(t, "from")
			to := rapid.SampledFrom(names(state.Destinations)).Draw(t, "to")
			state.Connections[name] = ConnectionSpec{From: from, To: to, ConnectionSpec: spec}
		}
		first, err := PlanState(project, hook.Catalogue{}, state, false)
		if err != nil {
			t.Skip("a scheme that has no generated secret")
		}
		catalogue := applied(hook.Catalogue{}, first)
		data, variables, err := export(stateOf(project, catalogue))
		if err != nil {
			t.Fatal(err)
		}
		again := read([]File{{Name: "export.yaml", Data: data}}, func(name string) (string, bool) {
			value, ok := variables[name]
			return value, ok
		})
		if problems := again.decoder.Problems(); len(problems) > 0 {
			t.Fatalf("Parse refuses what Export wrote: %v\n%s", problems, data)
		}
		plan, err := PlanState(project, catalogue, again.state, true)
		if err != nil || !plan.Empty() {
			t.Fatalf("the round trip changes something: %v\n%s\n%s", err, plan.Text(), data)
		}
		for _, value := range variables {
			if strings.Contains(string(data), value) {
				t.Fatalf("the file holds a secret:\n%s", data)
			}
		}
	})
}

func drawParts[Spec any](t *rapid.T, label string) map[string]Spec {
	parts := map[string]Spec{}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9][A-Za-z0-9._-]{0,6}`), 1, 3, rapid.ID).Draw(t, label) {
		var spec Spec
		fill(t, reflect.ValueOf(&spec).Elem(), 0)
		parts[name] = spec
	}
	return parts
}

// fill gives a value random content that a catalogue could hold.
func fill(t *rapid.T, value reflect.Value, depth int) {
	const deepest = 5
	if rapid.IntRange(0, 2).Draw(t, "leave out") == 0 || depth > deepest {
		return
	}
	switch value.Type() {
	case reflect.TypeFor[hook.Secret]():
		value.SetString("secret-" + rapid.StringMatching(`[a-zA-Z0-9+/=_-]{12,20}`).Draw(t, "secret"))
		return
	case reflect.TypeFor[hook.Duration]():
		value.SetInt(rapid.Int64Range(0, int64(400*24*time.Hour)).Draw(t, "duration"))
		return
	case reflect.TypeFor[hook.Rate]():
		per := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour}).Draw(t, "per")
		value.Set(reflect.ValueOf(hook.Rate{Count: rapid.IntRange(1, 1e6).Draw(t, "count"), Per: per}))
		return
	}
	switch value.Kind() {
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(t, value.Elem(), depth+1)
	case reflect.Struct:
		for _, field := range strict.Fields(value.Type()) {
			fill(t, value.FieldByIndex(field.Index), depth+1)
		}
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), rapid.IntRange(0, 2).Draw(t, "length"), 2))
		for i := range value.Len() {
			if item := value.Index(i); item.Type() == reflect.TypeFor[hook.Secret]() {
				item.SetString(rapid.StringMatching(`secret-[a-zA-Z0-9]{12,20}`).Draw(t, "secret"))
			} else {
				fill(t, item, depth+1)
			}
		}
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		for range rapid.IntRange(0, 2).Draw(t, "length") {
			value.SetMapIndex(reflect.ValueOf(text8(t)), reflect.ValueOf(text8(t)))
		}
	case reflect.String:
		value.SetString(text8(t))
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Float64:
		value.SetFloat(rapid.Float64Range(0, 1).Draw(t, "share"))
	default:
		value.SetInt(rapid.Int64Range(-5, 1e6).Draw(t, "number"))
	}
}

// text8 draws a text, often one that YAML or the references could misread.
func text8(t *rapid.T) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{
			"", "no", "true", "null", "~", "1e3", "0x1F", "2026-01-02", "<<", "a: b", "#x", "- x", "${A}", "$${", "$", "${", "a\nb", "\ttab", " lead", "trail ",
			"'", "\"", "{event}", "[a]", "*x", "&x", "!x", "%x", "@x", "`x", "\u2028", "\u0085", "\ufeffbom", "a\r\nb", "éñ😀", "\x07", "multi\n  line\n\n", "---", "...",
		}),
		rapid.StringN(0, 8, -1),
	).Draw(t, "text")
}

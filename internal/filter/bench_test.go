package filter

import (
	"encoding/json"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"github.com/tidwall/gjson"

	"malote.dev/malote/internal/hook"
)

// order is a shop's order of 1.9 KB, as the benchmarks of filters use it.
const order = `{"id":820982911946154508,"admin_graphql_api_id":"gid://shopify/Order/820982911946154508","app_id":null,` +
	`"browser_ip":"203.0.113.7","buyer_accepts_marketing":true,"cancel_reason":null,"cancelled_at":null,"cart_token":"c1-7f3a",` +
	`"checkout_id":901414060,"client_details":{"accept_language":"pt-BR","browser_height":null,"session_hash":null,` +
	`"user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},"closed_at":null,"confirmed":true,` +
	`"contact_email":"maria@example.com","created_at":"2026-11-06T10:27:13-03:00","currency":"BRL",` +
	`"current_subtotal_price":"398.00","current_total_discounts":"0.00","current_total_tax":"11.94","customer":{"id":115310627314723954,` +
	`"email":"maria@example.com","first_name":"Maria","last_name":"Souza","orders_count":3,"state":"enabled","tags":"vip, atacado",` +
	`"default_address":{"id":715243470612851245,"address1":"Rua das Laranjeiras 123","city":"Rio de Janeiro","province":"RJ",` +
	`"zip":"22240-003","country_code":"BR"}},"discount_codes":[{"code":"BEMVINDO","amount":"10.00","type":"fixed_amount"}],` +
	`"financial_status":"paid","fulfillment_status":null,"gateway":"pix","landing_site":"/?utm_source=newsletter",` +
	`"line_items":[{"id":866550311766439020,"product_id":632910392,"sku":"CAM-AZ-M","name":"Camisa azul M","quantity":1,` +
	`"price":"199.00","grams":200,"taxable":true,"tax_lines":[{"rate":0.03,"price":"5.97"}]},{"id":141249953214522974,` +
	`"product_id":632910393,"sku":"CAL-PR-42","name":"Calça preta 42","quantity":1,"price":"199.00","grams":400,"taxable":true,` +
	`"tax_lines":[{"rate":0.03,"price":"5.97"}]}],"name":"#9999","note":"Entregar à tarde","number":234,"order_number":1234,` +
	`"phone":"+55 21 99999-0000","processed_at":"2026-11-06T10:27:13-03:00","shipping_lines":[{"code":"SEDEX","price":"22.50",` +
	`"title":"Sedex"}],"source_name":"web","subtotal_price":"398.00","tags":"novo","taxes_included":true,"test":false,` +
	`"total_line_items_price":"398.00","total_price":"420.50","total_weight":600,"updated_at":"2026-11-06T10:27:13-03:00"}`

const fourClauses = `double(data.total_price) >= 100.0 && data.financial_status == "paid" && ` +
	`data.customer.default_address.country_code == "BR" && !data.test`

func orderEvent() *hook.Event {
	return &hook.Event{
		Type: "orders/create", Payload: []byte(order),
		Headers: hook.Headers{{Name: "Content-Type", Value: "application/json"}, {Name: "X-Shopify-Topic", Value: "orders/create"}},
	}
}

func mustCompile(tb testing.TB, text string) *Program {
	tb.Helper()
	program, err := Compile(text)
	if err != nil {
		tb.Fatal(err)
	}
	return program
}

// BenchmarkFilter compares reading the few fields that a filter names with decoding
// the whole event first.
func BenchmarkFilter(b *testing.B) {
	event := orderEvent()
	program := mustCompile(b, fourClauses)
	b.Run("lazy", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(order)))
		for b.Loop() {
			in := NewInput(event)
			if ok, err := program.Match(in); !ok {
				b.Fatal(ok, err)
			}
			in.Release()
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(order)))
		for b.Loop() {
			var data any
			if err := json.Unmarshal(event.Payload, &data); err != nil {
				b.Fatal(err)
			}
			activation, err := cel.NewActivation(map[string]any{"data": data})
			if err != nil {
				b.Fatal(err)
			}
			if value, _, err := program.expression.program.Eval(activation); err != nil || value != types.True {
				b.Fatal(value, err)
			}
		}
	})
	b.Run("again", func(b *testing.B) { // the second and later filters of an event
		b.ReportAllocs()
		in := NewInput(event)
		for b.Loop() {
			if ok, err := program.Match(in); !ok {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("check", func(b *testing.B) { // the part that checks the JSON
		b.SetBytes(int64(len(order)))
		for b.Loop() {
			if !ValidJSON(event.Payload) {
				b.Fatal("not valid")
			}
		}
	})
	b.Run("check-gjson", func(b *testing.B) { // the part that checks the JSON
		for b.Loop() {
			if !gjson.ValidBytes(event.Payload) {
				b.Fatal("not valid")
			}
		}
	})
	metered := mustCompile(b, `data.line_items.exists(i, i.sku.startsWith("CAL-"))`)
	b.Run("loop", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			in := NewInput(event)
			if ok, err := metered.Match(in); !ok {
				b.Fatal(ok, err)
			}
			in.Release()
		}
	})
}

func BenchmarkField(b *testing.B) {
	event := orderEvent()
	for name, field := range map[string]*hook.Field{
		"header": {Header: "x-shopify-topic"},
		"path":   {Path: "customer.default_address.zip"},
		"expr":   {Expr: "string(data.customer.id)"},
	} {
		compiled, err := CompileField(field)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				in := NewInput(event)
				if _, ok := compiled.Text(in); !ok {
					b.Fatal("not found")
				}
				in.Release()
			}
		})
	}
}

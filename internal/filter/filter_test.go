package filter

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"malote.dev/malote/internal/hook"
)

func sampleEvent() *hook.Event {
	return &hook.Event{
		ID: 4242, Source: 77, Type: "orders/create", Key: "1001", Query: "shop=acme%20ltd&flag&bad=%zz",
		ReceivedAt: time.Date(2026, 11, 6, 12, 0, 0, 0, time.UTC),
		Headers: hook.Headers{
			{Name: "Content-Type", Value: "application/json"},
			{Name: "X-Topic", Value: "orders/create"},
			{Name: "Accept", Value: "a"},
			{Name: "accept", Value: "b"},
		},
		Payload: []byte(` {"total_price":"100.00","n":3,"f":2.5,"big":820982911946154508,"huge":18446744073709551615,"nul":null,"yes":true,
			"items":[{"q":1,"sku":"A"},{"q":2,"sku":"B"}],"o":{"a":{"b":true}},"tags":["x","y"],"esc\u0061ped":"ok","a.b":"dotted",
			"":"empty name","*":"star","#":"hash","@this":"at","dup":1,"dup":2,"text":"Olá, \"mundo\"\n"} `),
	}
}

func TestMatch(t *testing.T) {
	event := sampleEvent()
	for expr, want := range map[string]bool{
		`true`:                                                                  true,
		`double(data.total_price) >= 100.0`:                                     true,
		`double(data.total_price) > 100.0`:                                      false,
		`data.n == 3`:                                                           true,
		`data.n == 3.0`:                                                         true,
		`data.n >= 2.5`:                                                         true,
		`data.f > 2`:                                                            true,
		`data.f + 0.5 == 3.0`:                                                   true,
		`data.n % 2 == 1`:                                                       true,
		`data.big == 820982911946154508`:                                        true,
		`string(data.big) == "820982911946154508"`:                              true,
		`data.huge == 18446744073709551615u`:                                    true,
		`data.nul == null`:                                                      true,
		`data.yes`:                                                              true,
		`data.?missing.orValue(7) == 7`:                                         true,
		`data.?o.?a.?x.orValue("none") == "none"`:                               true,
		`data.?o.?a.?b.orValue(false)`:                                          true,
		`has(data.o.a.b) && !has(data.o.x)`:                                     true,
		`"n" in data && !("m" in data)`:                                         true,
		`data.items[1].q == 2`:                                                  true,
		`data.items.exists(i, i.sku == "B")`:                                    true,
		`data.items.all(i, i.q > 1)`:                                            false,
		`data.items.map(i, i.q) == [1, 2]`:                                      true,
		`data.items.filter(i, i.q == 2)[0].sku + "!" == "B!"`:                   true,
		`size(data.items) == 2 && size(data.o) == 1`:                            true,
		`data.o == {"a": {"b": true}}`:                                          true,
		`data.o.a == data.o.a && data.o != data.items[0]`:                       true,
		`data.tags == ["x", "y"] && "y" in data.tags`:                           true,
		`data.tags + ["z"] == ["x", "y", "z"]`:                                  true,
		`data.tags.join("-") == "x-y"`:                                          true,
		`data.escaped == "ok"`:                                                  true,
		`data["a.b"] == "dotted" && data[""] == "empty name"`:                   true,
		`data["*"] == "star" && data["#"] == "hash"`:                            true,
		`data["@this"] == "at"`:                                                 true,
		`data.dup == 1`:                                                         true,
		`data.text == "Olá, \"mundo\"\n"`:                                       true,
		`data.text.contains("mundo") && data.text.startsWith("Olá")`:            true,
		`data.text.matches("^Ol.,")`:                                            true,
		`data.text.indexOf("m") == 6 && data.text.lastIndexOf("o") == 10`:       true,
		`data.total_price.replace("0", "") == "1."`:                             true,
		`data.total_price.replace("0", "7", 1) == "170.00"`:                     true,
		`data.total_price.split(".")[0].size() == 3`:                            true,
		`"%s-%d".format([data.total_price, data.n]) == "100.00-3"`:              true,
		`event.type == "orders/create" && event.key == "1001"`:                  true,
		`event.id.startsWith("evt_") && event.source.startsWith("src_")`:        true,
		`event.receivedAt < timestamp("2026-11-06T12:00:01Z")`:                  true,
		`headers["x-topic"] == "orders/create"`:                                 true,
		`headers["X-Topic"] == "orders/create"`:                                 true,
		`headers["accept"] == "a, b"`:                                           true,
		`headers.exists(name, name == "x-topic") && size(headers) == 3`:         true,
		`headers.?missing.orValue("no") == "no"`:                                true,
		`query.shop == "acme ltd" && query.flag == "" && !has(query.bad)`:       true,
		`data.items.exists(i, data.tags.exists(t, t == "y" && i.q == 2))`:       true,
		`type(data.o) == map && type(data.tags) == list && type(data.n) == int`: true,
	} {
		t.Run(expr, func(t *testing.T) {
			got, err := mustCompile(t, expr).Match(NewInput(event))
			if err != nil || got != want {
				t.Errorf("got %v, %v; want %v", got, err, want)
			}
		})
	}
}

func TestMatchErrorsAreNoMatch(t *testing.T) {
	event := sampleEvent()
	for expr, want := range map[string]string{
		`data.missing == 1`:           "no such key: missing (where it may be absent, ask has(…) first)",
		`data.o.a.x.y == 1`:           "no such key: x",
		`data.total_price >= 100`:     "no such overload: a value is of another type than the expression takes (convert it,",
		`data.n`:                      "the filter gives a int, but true or false is needed",
		`double(data.text) > 1.0`:     "type conversion error",
		`data.items[9].q == 1`:        "index",
		`data.tags["x"] == 1`:         "",
		`1 / (data.n - 3) == 1`:       "division by zero",
		`headers["nope"] == "x"`:      "no such key: nope",
		`data.text.matches(data.big)`: "no such overload",
		`"a".matches("(")`:            "",
	} {
		t.Run(expr, func(t *testing.T) {
			program, err := Compile(expr)
			if err != nil {
				return // refused when it is written, which is better still
			}
			got, err := program.Match(NewInput(event))
			if got || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, %v; want an error with %q", got, err, want)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, body, expr string
		want                    bool
		wantErr                 string
	}{
		"malformed JSON":           {"application/json", `{"a":1`, `data.a == 1`, false, "neither JSON nor a form"},
		"malformed, data not read": {"application/json", `{"a":1`, `event.type == "t"`, true, ""},
		"malformed, or":            {"application/json", `{"a":1`, `data.a == 1 || event.type == "t"`, true, ""},
		"empty":                    {"application/json", ``, `data == null`, true, ""},
		"XML":                      {"application/xml", `<a/>`, `data.a == 1`, false, "neither JSON nor a form"},
		"no content type":          {"", `{"a":1}`, `data.a == 1`, true, ""},
		"byte order mark":          {"application/json", "\xef\xbb\xbf{\"a\":1}", `data.a == 1`, true, ""},
		"scalar":                   {"application/json", `"x"`, `data == "x"`, true, ""},
		"array":                    {"application/json", ` [1,2] `, `data[1] == 2 && size(data) == 2`, true, ""},
		"form":                     {"application/x-www-form-urlencoded", `a=1+2&b=%C3%A1&a=9`, `data.a == "1 2" && data.b == "á"`, true, ""},
		"form with charset":        {"application/x-www-form-urlencoded; charset=utf-8", `a=1`, `data.a == "1" && size(data) == 1`, true, ""},
		"form that is JSON":        {"application/x-www-form-urlencoded", `{"a":1}`, `data.a == 1`, true, ""},
		"form, loop":               {"application/x-www-form-urlencoded", `a=1&b=2`, `data.all(k, data[k] > "0")`, true, ""},
		"multipart": {
			"multipart/form-data; boundary=xyz",
			"--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--xyz\r\n" +
				"Content-Disposition: form-data; name=\"f\"; filename=\"f.bin\"\r\n\r\nbytes\r\n--xyz--\r\n",
			`data.a == "1" && !("f" in data)`, true, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			event := &hook.Event{Type: "t", Payload: []byte(c.body), Headers: hook.Headers{{Name: "Content-Type", Value: c.contentType}}}
			got, err := mustCompile(t, c.expr).Match(NewInput(event))
			if got != c.want || (err != nil) != (c.wantErr != "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("got %v, %v; want %v and an error with %q", got, err, c.want, c.wantErr)
			}
		})
	}
}

func TestCompileSaysWhatToWrite(t *testing.T) {
	for expr, want := range map[string]string{
		``:                             "the expression is empty",
		`dta.x == 1`:                   "column 1: there is no dta, did you mean data?",
		`data.x == 1 && evnt.type`:     "column 16: there is no evnt, did you mean event?",
		`event.typ == "x"`:             "column 6: event has no field typ, did you mean type?",
		`body.x == 1`:                  "the body is called data",
		`data.a and data.b`:            `column 8: "and" does not belong here (and is written &&`,
		`data.x >>> 5`:                 `column 9: ">" does not belong here`,
		`data.x +`:                     "column 9: the expression ends too early",
		`(data.x`:                      `column 8: ")" is missing at the end`,
		`size(data.x data.y) > 1`:      `"data" does not belong here`,
		`data.x == "a`:                 "column 11: the text that begins here has no end: a quotation mark is missing",
		`data.x == 'a`:                 "column 11: the text that begins here has no end: a quotation mark is missing",
		`data.x # 1`:                   `column 8: "#" does not belong here`,
		`data.x = 1`:                   "equality is written ==",
		`data.a & data.b`:              "and is written &&",
		`1 + "a" == 2`:                 "convert first",
		`"abc"`:                        "gives string, but true or false is needed",
		"true &&\n  dta":               "line 2, column 3: there is no dta",
		`stringg(data.x) == "a"`:       "did you mean string?",
		`data.x.matches("(")`:          "",
		strings.Repeat("(", 500) + "1": "",
		strings.Repeat("a", 20_000):    "",
	} {
		t.Run(expr[:min(len(expr), 40)], func(t *testing.T) {
			_, err := Compile(expr)
			if err == nil || hook.KindOf(err) != hook.KindInvalid || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v; want an error of KindInvalid with %q", err, want)
			}
			if err != nil && strings.Contains(err.Error(), "expecting") {
				t.Errorf("got %v, in terms of the grammar", err)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestText(t *testing.T) {
	event := sampleEvent()
	for expr, want := range map[string]string{
		`data.total_price`:                     "100.00",
		`data.big`:                             "820982911946154508",
		`data.f`:                               "2.5",
		`data.yes`:                             "true",
		`data.nul`:                             "",
		`data.?missing`:                        "",
		`data.?n`:                              "3",
		`event.type + ":" + string(data.n)`:    "orders/create:3",
		`headers["x-topic"]`:                   "orders/create",
		`event.receivedAt`:                     "2026-11-06T12:00:00Z",
		`data.items.map(i, i.sku).join(",")`:   "A,B",
		`has(data.zip) ? "zip" : "none"`:       "none",
		`data.o.a.b ? data.items[0].sku : "-"`: "A",
	} {
		program, err := CompileText(expr)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		if got, err := program.Text(NewInput(event)); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", expr, got, err, want)
		}
	}
	for _, expr := range []string{`data.items`, `data.o`, `data.missing`} {
		program, err := CompileText(expr)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		if got, err := program.Text(NewInput(event)); err == nil {
			t.Errorf("%s: got %q; want an error", expr, got)
		}
	}
	if _, err := CompileText(`[1, 2]`); err == nil {
		t.Error("a list passes for a text")
	}
}

// A sender chooses the payload. No payload may make a filter take long or much memory.
func TestHostilePayloads(t *testing.T) {
	big := strings.Repeat("a", 400_000)
	keys := make([]string, 50_000)
	for i := range keys {
		keys[i] = `"k` + strconv.Itoa(i) + `":` + strconv.Itoa(i)
	}
	for name, c := range map[string]struct{ expr, body string }{
		"replace grows":    {`data.x.replace("a", data.x) == ""`, `{"x":"` + big + `"}`},
		"replace chain":    {`data.x.replace("a", "aaaaaaaa").replace("a", "aaaaaaaa").replace("a", "aaaaaaaa") == ""`, `{"x":"` + big + `"}`},
		"join grows":       {`data.l.join(data.x) == ""`, `{"l":["a"` + strings.Repeat(`,"a"`, 50_000) + `],"x":"` + big + `"}`},
		"loop in a loop":   {`data.l.all(a, data.l.all(b, a == b))`, `{"l":[1` + strings.Repeat(`,1`, 100_000) + `]}`},
		"loop over keys":   {`data.all(k, data.all(l, data[k] >= 0 && data[l] >= 0))`, `{` + strings.Join(keys, ",") + `}`},
		"loop over texts":  {`data.l.all(a, data.x.contains(a + "b") == false)`, `{"l":["a"` + strings.Repeat(`,"a"`, 100_000) + `],"x":"` + big + `"}`},
		"deep list":        {`data == null`, strings.Repeat("[", 300_000) + strings.Repeat("]", 300_000)},
		"deep object":      {`data.a == null`, strings.Repeat(`{"a":`, 300_000) + "1" + strings.Repeat("}", 300_000)},
		"regular exprs":    {`data.x.matches(data.p)`, `{"x":"` + big + `","p":"((a{1,100}){1,100}){1,100}"}`},
		"index of":         {`data.x.indexOf(data.y) == 5`, `{"x":"` + big + `","y":"` + big[:200_000] + `b"}`},
		"unterminated":     {`data.x == ""`, `{"x":"` + big},
		"many small lists": {`data.all(i, data.all(j, i == j))`, `[[]` + strings.Repeat(`,[]`, 100_000) + `]`},
	} {
		t.Run(name, func(t *testing.T) {
			program := mustCompile(t, c.expr)
			began := time.Now()
			ok, err := program.Match(NewInput(&hook.Event{Payload: []byte(c.body)}))
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			if ok {
				t.Errorf("it matches, err = %v", err)
			}
		})
	}
}

func TestLoopsAreStopped(t *testing.T) {
	body := `{"l":[1` + strings.Repeat(`,1`, 100_000) + `]}`
	_, err := mustCompile(t, `data.l.all(a, data.l.all(b, a == b))`).Match(NewInput(&hook.Event{Payload: []byte(body)}))
	if err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("got %v; want that it was stopped", err)
	}
}

func TestReadingIsBudgeted(t *testing.T) {
	in := NewInput(&hook.Event{Payload: []byte(`{"a":1}`)})
	in.metered = true
	if !in.charge(in.readBudget()) || in.charge(1) {
		t.Error("the budget is not what it should be")
	}
	if value := (&text{in: in, raw: `[1]`, parts: []part{{from: 1, to: 2}}, known: true}).valueOf(0); !errors.Is(value.Value().(error), errReadTooMuch) {
		t.Errorf("got %v after the budget was used up", value)
	}
}

// The filters of an event share what they read, and a fresh Input comes from a pool.
func TestInputIsSharedAndReused(t *testing.T) {
	first := mustCompile(t, `data.o.a.b && data.items[0].q == 1`)
	second := mustCompile(t, `data.items[1].q == 2 && data.o.a.b`)
	for i := range 3 {
		in := NewInput(sampleEvent())
		for _, program := range []*Program{first, second, first} {
			if ok, err := program.Match(in); !ok {
				t.Fatalf("round %d: %v %v", i, ok, err)
			}
		}
		in.Release()
	}
	in := NewInput(&hook.Event{Payload: []byte(`{"o":{"a":{"b":false}}}`)})
	if ok, _ := first.Match(in); ok {
		t.Error("an event sees what another one had")
	}
}

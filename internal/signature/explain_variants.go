package signature

import (
	"bytes"
	"encoding/json"
	"html"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/signature/rule"
)

const proxyChanges = "something between the sender and this server changes the body (a proxy, a gateway, a framework), " +
	"and it has to pass the bytes on as they are"

// bodyVariants are bodies that the sender may have signed before somebody changed them.
func (e *explainer) bodyVariants() []hypothesis {
	if !e.rule.CoversBody() {
		return nil
	}
	var out []hypothesis
	add := func(body []byte, how string) {
		if body != nil && !bytes.Equal(body, e.req.Body) {
			out = append(out, hypothesis{req: e.req.WithBody(body), meaning: "The signature fits " + how + ": " + proxyChanges + "."})
		}
	}
	body := e.req.Body
	add(bytes.TrimRight(body, "\r\n"), "the body without the line end at its end")
	add(append(bytes.Clone(body), '\n'), "the body with a line end at its end")
	add(append(bytes.Clone(body), '\r', '\n'), "the body with a line end at its end")
	add(bytes.TrimSpace(body), "the body without white space around it")
	add(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), "the body with line ends of one character (LF)")
	add(bytes.ReplaceAll(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n")), "the body with line ends of two characters (CRLF)")
	add(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), "the body without its byte order mark")
	add([]byte{}, "an empty body")
	if json.Valid(body) {
		for _, one := range reserialised(body) {
			add(one.body, "the same JSON written differently ("+one.how+")")
		}
	}
	if text, err := url.QueryUnescape(string(body)); err == nil {
		add([]byte(text), "the body with its percent escapes decoded")
	}
	return out
}

type spelling struct {
	how  string
	body []byte
}

// reserialised returns the ways in which usual libraries write a JSON document.
func reserialised(body []byte) []spelling {
	var compact bytes.Buffer
	if json.Compact(&compact, body) != nil {
		return nil
	}
	plain := compact.Bytes()
	out := []spelling{
		{"without white space", plain},
		{"with a space after commas and colons, as Python does", spaced(plain)},
	}
	for _, indent := range []struct{ how, text string }{{"2 spaces", "  "}, {"4 spaces", "    "}, {"tabs", "\t"}} {
		var pretty bytes.Buffer
		if json.Indent(&pretty, body, "", indent.text) == nil {
			out = append(out, spelling{"indented by " + indent.how, bytes.Clone(pretty.Bytes())})
		}
	}
	escaped := escapeNonASCII(plain)
	out = append(out,
		spelling{"with characters outside ASCII escaped", escaped},
		spelling{"with characters outside ASCII escaped and a space after commas and colons", spaced(escaped)},
		spelling{"with slashes escaped, as PHP does", bytes.ReplaceAll(plain, []byte("/"), []byte(`\/`))},
		spelling{"with slashes and characters outside ASCII escaped, as PHP does", bytes.ReplaceAll(escaped, []byte("/"), []byte(`\/`))},
		spelling{"with slashes not escaped", bytes.ReplaceAll(plain, []byte(`\/`), []byte("/"))},
	)
	var html bytes.Buffer
	json.HTMLEscape(&html, plain)
	out = append(out, spelling{"with <, > and & escaped, as Go does", html.Bytes()})
	return append(out, decoded(body)...)
}

// decoded writes the document again after decoding it, which sorts its names and
// writes its escapes plainly.
func decoded(body []byte) []spelling {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return nil
	}
	var sorted bytes.Buffer
	encoder := json.NewEncoder(&sorted)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil
	}
	plain := bytes.TrimSuffix(sorted.Bytes(), []byte("\n"))
	return []spelling{
		{"with its names sorted and without white space", plain},
		{"with its names sorted and a space after commas and colons", spaced(plain)},
	}
}

// spaced puts a space after the commas and colons of compact JSON.
func spaced(compact []byte) []byte {
	out := make([]byte, 0, len(compact)+len(compact)/8)
	inText, escaped := false, false
	for _, c := range compact {
		out = append(out, c)
		switch {
		case escaped:
			escaped = false
		case inText && c == '\\':
			escaped = true
		case c == '"':
			inText = !inText
		case !inText && (c == ',' || c == ':'):
			out = append(out, ' ')
		}
	}
	return out
}

// escapeNonASCII writes characters outside ASCII as \uXXXX.
func escapeNonASCII(compact []byte) []byte {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, len(compact))
	unit := func(u rune) {
		out = append(out, '\\', 'u', digits[u>>12&15], digits[u>>8&15], digits[u>>4&15], digits[u&15])
	}
	for _, r := range string(compact) {
		switch {
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
		case r > 0xffff:
			unit(0xd800 + (r-0x10000)>>10)
			unit(0xdc00 + (r-0x10000)&0x3ff)
		default:
			unit(r)
		}
	}
	return out
}

// secretChange is a way in which a secret is copied wrongly.
type secretChange struct {
	fits   string // completes "The signature fits the secret …"
	change func(string) string
}

func secretChanges() []secretChange {
	bare := func(s string) string { return strings.TrimPrefix(s, "whsec_") }
	return []secretChange{
		{"without the white space around it: paste it again without spaces and line ends", strings.TrimSpace},
		{
			"with a line end after it: the sender's secret was saved with one (by echo without -n, for example)",
			func(s string) string { return s + "\n" },
		},
		{"without the quotes around it", func(s string) string { return strings.Trim(s, `"'`) }},
		{"without the prefix whsec_: the sender uses what follows it", bare},
		{"with the prefix whsec_: the sender uses it whole", func(s string) string { return "whsec_" + bare(s) }},
		{"in lower case", strings.ToLower},
		{"in upper case", strings.ToUpper},
		{"with its HTML escapes decoded", html.UnescapeString},
		{"after the word Bearer: the sender puts it before the token", func(s string) string { return "Bearer " + s }},
		{"without the word Bearer before it: leave that out of the secret", func(s string) string { return strings.TrimPrefix(s, "Bearer ") }},
	}
}

func (e *explainer) secretVariants() []hypothesis {
	var out []hypothesis
	for _, one := range secretChanges() {
		secrets := make([]rule.Secret, 0, len(e.secrets))
		changed := false
		for _, secret := range e.secrets {
			text := one.change(secret.Value.Reveal())
			changed = changed || text != secret.Value.Reveal()
			secrets = append(secrets, rule.Secret{Value: hook.Secret(text), Path: secret.Path})
		}
		if changed {
			out = append(out, hypothesis{meaning: "The signature fits the " + e.secretName() + " " + one.fits + ".", secrets: secrets})
		}
	}
	return out
}

// ruleVariants are rules that differ in one knob.
func (e *explainer) ruleVariants() []hypothesis {
	var out []hypothesis
	add := func(meaning string, change func(*hook.Verify)) {
		out = append(out, hypothesis{meaning: meaning, verify: mapLeaves(&e.verify, change)})
	}
	for _, encoding := range []string{string(rule.Hex), string(rule.Base64), string(rule.Base64URL)} {
		add("The signature fits when it is read as "+encoding+": set the encoding to "+encoding+".", setEncoding(encoding))
	}
	for _, prefix := range []string{"sha256=", "sha1=", "sha512=", "v0=", "v1=", ""} {
		add("The signature fits when "+quotedPrefix(prefix)+" is expected before it: set the prefix so.", setPrefix(prefix))
	}
	for _, hash := range []string{"sha256", "sha1", "sha384", "sha512", "md5"} {
		add("The signature fits with the hash "+hash+": set the hash to "+hash+".", setHash(hash))
	}
	for _, form := range rule.KeyForms() {
		add("The signature fits when the key is made from the secret as "+form+": set the key to "+form+".", setKey(form))
	}
	for _, content := range []string{
		"{body}", "{timestamp}.{body}", "{timestamp}{body}", "{timestamp}:{body}", "v0:{timestamp}:{body}",
		"{url}{body}", "{body}{url}", "{body}.{timestamp}",
	} {
		add("The signature fits when what is signed is "+content+": set the content so.", setContent(content))
	}
	return out
}

// maxSpelledBody is the largest body with which every spelling is tried, in bytes.
const maxSpelledBody = 16 << 10

// spellings are rules that differ in prefix, hash and encoding at once, as when a rule
// was made for another provider.
func (e *explainer) spellings() []hypothesis {
	if len(e.req.Body) > maxSpelledBody {
		return nil
	}
	var out []hypothesis
	for _, prefix := range []string{"", "sha256=", "sha1=", "sha512="} {
		for _, hash := range []string{"sha256", "sha1", "sha512", "md5"} {
			for _, encoding := range []string{string(rule.Hex), string(rule.Base64)} {
				out = append(out, hypothesis{
					meaning: "The signature fits with the prefix " + strconv.Quote(prefix) + ", the hash " + hash + " and the encoding " + encoding + ": set them so.",
					verify: mapLeaves(&e.verify, func(v *hook.Verify) {
						setPrefix(prefix)(v)
						setHash(hash)(v)
						setEncoding(encoding)(v)
					}),
				})
			}
		}
	}
	return out
}

func setEncoding(encoding string) func(*hook.Verify) {
	return func(v *hook.Verify) {
		if s := signatureOf(v); s != nil {
			s.Encoding = []string{encoding}
		}
	}
}

func setPrefix(prefix string) func(*hook.Verify) {
	return func(v *hook.Verify) {
		if s := signatureOf(v); s != nil && s.List == nil {
			s.Prefix = prefix
		}
	}
}

func setHash(hash string) func(*hook.Verify) {
	return func(v *hook.Verify) {
		if v.HMAC != nil && len(v.HMAC.Hashes) == 0 && v.HMAC.Hash != rule.HashPlain {
			v.HMAC.Hash = hash
		}
	}
}

func setKey(form string) func(*hook.Verify) {
	return func(v *hook.Verify) {
		switch {
		case v.HMAC != nil:
			v.HMAC.Key = form
		case v.Standard != nil && form == rule.KeyText:
			v.Standard.Key = form
		}
	}
}

func setContent(content string) func(*hook.Verify) {
	return func(v *hook.Verify) {
		s := signatureOf(v)
		if s == nil {
			return
		}
		timed := s.Timestamp != nil || s.List != nil && s.List.Timestamp != ""
		if timed || !strings.Contains(content, "{timestamp}") {
			s.Content = content
		}
	}
}

func quotedPrefix(prefix string) string {
	if prefix == "" {
		return "nothing"
	}
	return prefix
}

func signatureOf(v *hook.Verify) *hook.SignatureRule {
	switch {
	case v.HMAC != nil:
		return &v.HMAC.SignatureRule
	case v.Public != nil:
		return &v.Public.SignatureRule
	default:
		return nil
	}
}

// addressVariants are other spellings of the address, for rules that sign it.
func (e *explainer) addressVariants() []hypothesis {
	signsAddress := anyLeaf(&e.verify, func(v *hook.Verify) bool {
		s := signatureOf(v)
		return v.Code == "twilio" || s != nil && strings.Contains(s.Content, "{url")
	})
	if !signsAddress {
		return nil
	}
	address := e.req.URL
	bare, query, _ := strings.Cut(address, "?")
	forms := []string{
		"http://" + strings.TrimPrefix(address, "https://"), "https://" + strings.TrimPrefix(address, "http://"),
		bare, strings.TrimSuffix(bare, "/"), bare + "/", strings.TrimSuffix(bare, "/") + "?" + query, bare + "/?" + query,
	}
	var out []hypothesis
	for _, form := range forms {
		if form == address {
			continue
		}
		req := *e.req
		req.URL = form
		out = append(out, hypothesis{
			req:     &req,
			meaning: "The signature fits the address " + form + ": set the setting url to the address exactly as it is registered at the sender.",
		})
	}
	return out
}

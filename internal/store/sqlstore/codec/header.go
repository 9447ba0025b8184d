package codec

// headerNames are the header names that a row holds as one byte. The list only ever
// grows at its end: a name's place in it is stored. Place 0 is "spelled out".
var headerNames = [...]string{ //nolint:gochecknoglobals // a constant table
	"", "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection", "Content-Encoding",
	"Content-Length", "Content-Type", "Date", "Etag", "Expires", "Forwarded", "Host", "Idempotency-Key", "Last-Modified",
	"Location", "Origin", "Pragma", "Referer", "Retry-After", "Server", "Set-Cookie", "Strict-Transport-Security", "Traceparent",
	"Tracestate", "Transfer-Encoding", "User-Agent", "Vary", "Via", "X-Content-Type-Options", "X-Forwarded-For",
	"X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Frame-Options", "X-Real-Ip", "X-Request-Id",
	"Webhook-Id", "Webhook-Signature", "Webhook-Timestamp", "webhook-id", "webhook-signature", "webhook-timestamp",
	"Svix-Id", "Svix-Signature", "Svix-Timestamp", "svix-id", "svix-signature", "svix-timestamp",
	"Ce-Id", "Ce-Source", "Ce-Specversion", "Ce-Subject", "Ce-Time", "Ce-Type",
	"Stripe-Signature", "X-Github-Delivery", "X-Github-Event", "X-Github-Hook-Id", "X-Github-Hook-Installation-Target-Id",
	"X-Github-Hook-Installation-Target-Type", "X-Hub-Signature", "X-Hub-Signature-256", "X-Gitlab-Event", "X-Gitlab-Token",
	"X-Shopify-Api-Version", "X-Shopify-Event-Id", "X-Shopify-Hmac-Sha256", "X-Shopify-Shop-Domain", "X-Shopify-Topic",
	"X-Shopify-Triggered-At", "X-Shopify-Webhook-Id", "X-Slack-Request-Timestamp", "X-Slack-Retry-Num", "X-Slack-Retry-Reason",
	"X-Slack-Signature", "X-Signature", "X-Twilio-Signature", "Content-Language", "Age", "Cf-Cache-Status", "Cf-Ray",
	"Cf-Connecting-Ip", "Cdn-Loop", "Server-Timing", "X-Powered-By", "Alt-Svc", "Access-Control-Allow-Origin", "Content-Security-Policy",
	"content-type", "user-agent", "authorization", "content-length", "accept", "accept-encoding", "host",
}

// headerCodes is headerNames turned around.
var headerCodes = func() map[string]byte { //nolint:gochecknoglobals // a constant table
	codes := make(map[string]byte, len(headerNames))
	for code, name := range headerNames {
		codes[name] = byte(code)
	}
	return codes
}()

// headerCode returns the place of a name in headerNames, 0 for a name to spell out.
func headerCode(name string) byte { return headerCodes[name] }

package ingest

import (
	"net/http"
	"strconv"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/route"
	"malote.dev/malote/internal/signature"
)

// answerProblem answers with an error that tells the sender no more than it must know.
// Code and detail are texts of this package that need no escaping.
func answerProblem(w http.ResponseWriter, status int, code, detail string) {
	body := `{"code":"` + code + `","detail":"` + detail + `"}`
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // when it fails, the sender has gone
}

// answerAccepted answers as the source says.
func answerAccepted(w http.ResponseWriter, reply *route.Reply, event hook.EventID) {
	var buffer [256]byte
	answer(w, reply.Status, reply.Headers, reply.AppendBody(buffer[:0], event))
}

func answerHandshake(w http.ResponseWriter, reply *signature.Reply) {
	answer(w, reply.Status, reply.Headers, reply.Body)
}

func answer(w http.ResponseWriter, status int, headers hook.Headers, body []byte) {
	header := w.Header()
	for i := range headers {
		header.Add(headers[i].Name, headers[i].Value)
	}
	if len(body) > 0 {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if len(body) > 0 {
		_, _ = w.Write(body) // when it fails, the sender has gone
	}
}

package api

import (
	"net/http"
	"testing"
	_ "time/tzdata"
)

func TestDeliveryControlIsSetAndCleared(t *testing.T) {
	h := newHarness(t)
	h.wire()
	h.call("PATCH", "/destination/erp", `{"rate":"50/s","burst":10,"concurrency":4,"inFlight":100,"adaptive":false,`+
		`"circuit":{"failures":5,"probe":"2s"},"quiet":{"from":"22:00","to":"06:00","days":["mon"],"zone":"Europe/Berlin"}}`).
		want(http.StatusOK).
		has(`"rate":"50/s"`, `"burst":10`, `"inFlight":100`, `"adaptive":false`, `"circuit":{"failures":5,"probe":"2s"}`, `"days":["mon"]`)
	h.call("PATCH", "/destination/erp", `{"circuit":{"maxProbe":"1h"},"quiet":null,"burst":null}`).want(http.StatusOK).
		has(`"circuit":{"failures":5,"probe":"2s","maxProbe":"1h"}`).hasNot(`"quiet"`, `"burst"`)
	h.call("PATCH", "/destination/erp", `{"quiet":{"from":"22:00","to":"6"},"inFlight":3,"circuit":{"off":true}}`).
		want(http.StatusUnprocessableEntity).has(`"quiet","to"`, `"inFlight"`, "off contradicts the rest")

	h.call("PATCH", "/connection/orders", `{"order":{"key":"data.customer","stuck":"skip after 3"},"delay":"10m","ttl":"1h","quiet":{"from":"12:00","to":"13:00"}}`).
		want(http.StatusOK).has(`"stuck":"skip after 3"`, `"delay":"10m"`, `"ttl":"1h"`, `"quiet":{"from":"12:00","to":"13:00"}`)
	h.call("PATCH", "/connection/orders", `{"order":{"key":"dta.x","stuck":"later"},"ttl":"5m"}`).
		want(http.StatusUnprocessableEntity).has("there is no dta", "write block, park, or skip after N", "is not more than the delay")
	h.call("PATCH", "/connection/orders", `{"delay":null,"ttl":null,"quiet":null,"order":null}`).want(http.StatusOK).
		hasNot(`"delay"`, `"ttl"`, `"quiet"`, `"order"`)
}

// The source of the project's own notices is connected like any other, and is nobody's
// to make, change, delete or send to.
func TestTheSystemSourceIsOnlyConnected(t *testing.T) {
	h := newHarness(t)
	h.wire()
	h.call("GET", "/source/malote", "").want(http.StatusOK).has(`"system":true`, `"path":""`).hasNot(`"problem"`)
	h.call("POST", "/connection", `{"name":"on-call","source":"malote","destination":"erp","types":["malote.*"]}`).want(http.StatusCreated).hasNot("problem")
	for method, path := range map[string]string{
		"PUT": "/source/malote", "PATCH": "/source/malote", "DELETE": "/source/malote", "POST": "/source/malote/secret/rotate",
	} {
		body := `{"verify":"none"}`
		if method == "DELETE" || method == "POST" {
			body = ""
		}
		h.call(method, path, body).want(http.StatusConflict).has("only there to be connected")
	}
	h.call("POST", "/source/malote/test", "").want(http.StatusConflict)
	h.call("POST", "/source", `{"name":"own","verify":"none","system":true}`).want(http.StatusUnprocessableEntity).has(`"system"`, "leave this out")
	h.call("PATCH", "/source/shop", `{"system":true}`).want(http.StatusUnprocessableEntity).has("leave this out")
	h.call("POST", "/event", `{"source":"malote","type":"malote.delivery.exhausted","payload":{}}`).want(http.StatusConflict).has("publish to one of your own")
}

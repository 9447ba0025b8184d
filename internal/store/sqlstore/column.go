package sqlstore

import (
	"encoding/binary"
	"time"
)

// Millis returns t as stored: Unix milliseconds.
func Millis(t time.Time) int64 { return t.UnixMilli() }

// Time returns the stored time, in UTC.
func Time(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// Minute returns t's minute as stored: how many minutes since 1970.
func Minute(t time.Time) int64 {
	ms := Millis(t)
	m := ms / 60_000
	if ms%60_000 < 0 {
		m--
	}
	return m
}

// IDKey returns an id as the bytes that bind a sealed text to its row.
func IDKey(table string, id int64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(table), '/'), uint64(id))
}

package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// strictUnmarshal is json.Unmarshal that refuses unknown fields, for types whose own
// UnmarshalJSON would otherwise drop the strictness of the decoder above.
func strictUnmarshal(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

package config

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Effective is one setting as "malote config" shows it.
type Effective struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
	Env    string `json:"env"`
}

// List returns the effective settings in the order of their declaration, secrets masked.
func (s *Settings) List(origins Origins) []Effective {
	list := make([]Effective, 0, len(origins))
	for _, field := range Fields() {
		list = append(list, Effective{Key: field.Key, Value: field.Get(s), Origin: origins[field.Key], Env: field.Env})
	}
	return list
}

// Write prints the effective settings for people: key, value, origin.
func (s *Settings) Write(w io.Writer, origins Origins) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "SETTING\tVALUE\tFROM") // a tabwriter reports its errors at Flush
	for _, e := range s.List(origins) {
		if e.Value == "" {
			e.Value = "-"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", e.Key, e.Value, e.Origin)
	}
	return table.Flush()
}

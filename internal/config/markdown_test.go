package config

import (
	"fmt"
	"strings"
)

// markdown returns the page docs/configuration.md.
func markdown() string {
	var b strings.Builder
	b.WriteString(`# Configuration

Every setting can be given as a flag, as an environment variable, or as a key of a
configuration file. A flag wins over a variable, a variable over the file, the file
over the default. ` + "`malote config`" + ` prints what is in force, and where it came from.

The configuration file is YAML: ` + "`malote.yaml`" + ` in the working directory, or what
` + "`--config`" + ` names. Its keys are the names below. An unknown key is an error.

` + "```yaml" + `
data: /var/lib/malote
listen: 0.0.0.0:8420
public-url: https://hooks.example.com
allow-private: [10.1.0.0/16, "192.168.7.20/32:8080"]
` + "```" + `

Lists are repeated flags, YAML lists, or values separated by commas in the variable.
Sizes are written ` + "`512KiB`, `10MiB`" + `; durations ` + "`30s`, `5m`, `2h`, `30d`" + `.
`)
	titles := map[string]string{
		GroupFiles: "Files and data", GroupNetwork: "Network", GroupRunning: "Running", GroupClient: "Commands that talk to a server",
	}
	for _, group := range []string{GroupFiles, GroupNetwork, GroupRunning, GroupClient} {
		fmt.Fprintf(&b, "\n## %s\n\n| setting | variable | default | what it does |\n|---|---|---|---|\n", titles[group])
		for _, f := range Fields() {
			if f.Group == group {
				fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", strings.TrimSpace("--"+f.Key+" "+f.Metavar), f.Env, code(f.Default), sentence(&f))
			}
		}
	}
	b.WriteString(`
A variable that begins with ` + "`MALOTE_`" + ` and is not in these tables is told in the log at
the start, with the nearest one that is.

## Memory

Two variables of the Go runtime decide how memory is used. ` + "`GOMEMLIMIT`" + ` is what the
program tries to stay below, ` + "`256MiB`" + ` unless it is set: a burst of great bodies may go
beyond for a moment, and nothing is refused because of it. ` + "`GOGC`" + ` is how far the memory in
use may grow between two collections, ` + "`300`" + ` percent unless it is set.
`)
	return b.String()
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

func sentence(f *Field) string {
	help := strings.ToUpper(f.Help[:1]) + f.Help[1:] + "."
	if f.List {
		help += " Repeatable."
	}
	return help
}

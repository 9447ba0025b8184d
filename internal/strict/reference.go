package strict

import (
	"bytes"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// In a flow mapping, YAML ends an unquoted text at a brace, so that the natural
// { secret: ${NAME} } would be a mistake. While YAML is parsed, the braces of
// references are therefore replaced by one character each, which also keeps columns
// right. The two are private-use characters; a file that has them, or
// escapes of them, keeps its braces.
const (
	openBrace  = "\uF8F0"
	closeBrace = "\uF8F1"
)

var reference = regexp.MustCompile(`\$\{([^{}\n]*)\}`)

// shield replaces the braces of references.
func shield(data []byte) []byte {
	if bytes.Contains(data, []byte(openBrace)) || bytes.Contains(data, []byte(closeBrace)) || bytes.Contains(bytes.ToLower(data), []byte(`\uf8f`)) {
		return data
	}
	return reference.ReplaceAll(data, []byte("$$"+openBrace+"${1}"+closeBrace))
}

// unshield undoes shield in a parsed node. What an alias points to is reached where it
// stands.
func unshield(node *yaml.Node) {
	if strings.Contains(node.Value, openBrace) {
		node.Value = strings.NewReplacer(openBrace, "{", closeBrace, "}").Replace(node.Value)
	}
	for _, child := range node.Content {
		unshield(child)
	}
}

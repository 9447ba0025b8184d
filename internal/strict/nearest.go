package strict

import (
	"fmt"
	"slices"
	"strings"
)

// Nearest returns the known name that a misspelt one most likely meant; "" when none
// is near enough to be a guess worth showing.
func Nearest(name string, known []string) string {
	if name == "" {
		return ""
	}
	best, bestDistance := "", len(name)/3+2
	for _, candidate := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// Suggest returns the end of a sentence about an unknown name: the nearest known
// one, or else all that are known, or else nothing.
func Suggest(name string, known []string) string {
	if near := Nearest(name, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(known) == 0 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(known))
	const shown = 20
	if len(sorted) > shown {
		sorted = append(sorted[:shown:shown], "…")
	}
	return "; known are: " + strings.Join(sorted, ", ")
}

// distance is the number of insertions, deletions, substitutions and swaps of
// neighbours that turn a into b (optimal string alignment).
func distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	const tooLong = 64
	if len(from) > tooLong || len(to) > tooLong {
		return tooLong
	}
	rows := make([][]int, len(from)+1)
	for i := range rows {
		rows[i] = make([]int, len(to)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(from); i++ {
		for j := 1; j <= len(to); j++ {
			substitution := rows[i-1][j-1]
			if from[i-1] != to[j-1] {
				substitution++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, substitution)
			if i > 1 && j > 1 && from[i-1] == to[j-2] && from[i-2] == to[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(from)][len(to)]
}

package malote_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents returns the pages that people read.
func documents(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	for _, needed := range []string{
		"README.md", "README.pt-BR.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md",
	} {
		if !slices.Contains(names, needed) {
			t.Errorf("%s is missing", needed)
		}
	}
	return names
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	// linked finds the targets of links: [text](target).
	linked = regexp.MustCompile(`\]\(([^)\s#]+)[^)]*\)`)
	// quoted finds what stands between backquotes and looks like a path of the repository.
	quoted = regexp.MustCompile("`((?:internal|cmd|web|docs|bench|crash|scripts|interop|deploy)/[A-Za-z0-9_./-]*)`")
	// fenced finds blocks of code, which show other people's files as well.
	fenced = regexp.MustCompile("(?s)```.*?```")
)

func TestDocumentsNameWhatExists(t *testing.T) {
	for _, name := range documents(t) {
		text := fenced.ReplaceAllString(read(t, name), "")
		for _, match := range linked.FindAllStringSubmatch(text, -1) {
			if strings.Contains(match[1], "://") || strings.HasPrefix(match[1], "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), match[1])); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, match[1])
			}
		}
		for _, match := range quoted.FindAllStringSubmatch(text, -1) {
			if found, err := filepath.Glob(match[1]); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which does not exist", name, match[1])
			}
		}
	}
}

func TestArchitectureNamesEveryPackage(t *testing.T) {
	text := read(t, "ARCHITECTURE.md")
	for dir := range layers {
		if !strings.Contains(text, "`"+strings.TrimPrefix(dir, "internal/")+"`") {
			t.Errorf("ARCHITECTURE.md does not name the package %s", dir)
		}
	}
}

func TestChangelogHasAPlaceForWhatComesNext(t *testing.T) {
	if !strings.Contains(read(t, "CHANGELOG.md"), "\n## [Unreleased]\n") {
		t.Error(`CHANGELOG.md has no "## [Unreleased]" section`)
	}
}

func TestLicenceIsWhole(t *testing.T) {
	text := read(t, "LICENSE")
	for _, part := range []string{"Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS"} {
		if !strings.Contains(text, part) {
			t.Errorf("LICENSE lacks %q", part)
		}
	}
}

// TestFilesAreOfNoParticularMachine looks for what only makes sense where it was
// written: folders of one machine, and hosts of package registries, which every
// machine configures for itself.
func TestFilesAreOfNoParticularMachine(t *testing.T) {
	list, err := exec.CommandContext(t.Context(), "git", "ls-files").Output()
	if err != nil {
		t.Skipf("not a checkout of the repository: %v", err)
	}
	foreign := regexp.MustCompile(`(?:^|[\s"'=(:])(/` + `work/|/` + `root/|/` + `home/[a-z]+/)|` +
		`registry\.` + `npmjs|registry\.` + `yarnpkg|proxy\.` + `golang\.org|deb\.` + `debian\.org`)
	for name := range strings.Lines(string(list)) {
		name = strings.TrimSpace(name)
		text, err := os.ReadFile(name)
		if err != nil {
			continue // removed, but not yet committed
		}
		for number, line := range strings.Split(string(text), "\n") {
			if match := foreign.FindString(line); match != "" {
				t.Errorf("%s:%d: %q belongs to one machine", name, number+1, strings.TrimSpace(match))
			}
		}
	}
}

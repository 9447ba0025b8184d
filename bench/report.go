package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// median returns the median over samples of what read reads.
func median[T cmp.Ordered](samples []*sample, read func(*sample) T) T {
	values := make([]T, 0, len(samples))
	for _, s := range samples {
		values = append(values, read(s))
	}
	slices.Sort(values)
	if len(values) == 0 {
		var zero T
		return zero
	}
	return values[len(values)/2]
}

// latencies returns the medians over the rounds of two quantiles.
func latencies(samples []*sample, of func(*sample) []time.Duration) string {
	quantileOf := func(q float64) time.Duration {
		return median(samples, func(s *sample) time.Duration { return quantile(of(s), q) })
	}
	return milli(quantileOf(0.5)) + " / " + milli(quantileOf(0.99))
}

func pair(durations []time.Duration) string {
	return milli(quantile(durations, 0.5)) + "/" + milli(quantile(durations, 0.99))
}

func milli(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
func mebibytes(n int64) string     { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }
func micro(d time.Duration) string { return fmt.Sprintf("%.0f µs", float64(d)/1e3) }

// machine says what the figures were measured on.
func machine() string {
	processor := "an unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if found := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(text); found != nil {
			processor = string(found[1])
		}
	}
	kernel := runtime.GOOS
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = "Linux " + strings.TrimSpace(string(text))
	}
	return fmt.Sprintf("%d processors of %s, %s, %s, bodies of %d bytes", runtime.NumCPU(), processor, kernel, runtime.Version(), bodySize)
}

// publish replaces the named section of the page; the rest stays as it is.
func publish(page, section, text string) error {
	if page == "" {
		return nil
	}
	old, err := os.ReadFile(page)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s does not exist: run the benchmark from the root of the repository, or with -out", page)
	}
	if err != nil {
		return err
	}
	begin, end := "<!-- "+section+" -->\n", "<!-- end of "+section+" -->"
	before, rest, found := strings.Cut(string(old), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("%s has no section %q", filepath.Base(page), section)
	}
	return os.WriteFile(page, []byte(before+begin+text+end+after), 0o644)
}

// Package telemetry sets up what the program tells of itself: structured logs,
// metrics, and which build it is.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// LogFormat is how log lines are written.
type LogFormat string

// The formats of a log.
const (
	LogText LogFormat = "text" // key=value, for people
	LogJSON LogFormat = "json" // one object a line, for programs
)

// NewLogger returns a logger that writes lines of the given format and of at least
// the given level (debug, info, warn, error) to w.
func NewLogger(w io.Writer, format LogFormat, level string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("%q is not a log level: use debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: least}
	switch format {
	case LogText:
		return slog.New(slog.NewTextHandler(w, options)), nil
	case LogJSON:
		options.ReplaceAttr = printed
		return slog.New(slog.NewJSONHandler(w, options)), nil
	default:
		return nil, fmt.Errorf("%q is not a log format: use text or json", format)
	}
}

// printed turns values that slog would marshal to JSON into the text that fmt prints.
// A secret hides itself from fmt, however deep it lies, but must marshal as it is to
// be stored.
func printed(_ []string, attr slog.Attr) slog.Attr {
	if attr.Value.Kind() == slog.KindAny {
		attr.Value = slog.StringValue(fmt.Sprintf("%+v", attr.Value.Any()))
	}
	return attr
}

// Build says which program this is.
type Build struct {
	Version  string `json:"version"`            // such as v1.2.0; "devel" when nobody said
	Revision string `json:"revision,omitempty"` // the commit it was built from
	Modified bool   `json:"modified,omitempty"` // there were changes on top of the commit
	Go       string `json:"go"`                 // the version of Go
	Platform string `json:"platform"`           // operating system and architecture
}

// ReadBuild returns the build of the running program. version is what the linker set,
// if anything; the rest comes from what the Go command recorded.
func ReadBuild(version string) Build {
	build := Build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			build.Revision = setting.Value
		case "vcs.modified":
			build.Modified = setting.Value == "true"
		}
	}
	if build.Version == "" {
		build.Version = info.Main.Version
	}
	if build.Version == "" || build.Version == "(devel)" {
		build.Version = "devel"
	}
	return build
}

// NewRegistry returns a registry that has the metrics of the Go runtime, of the
// process and of the build.
func NewRegistry(build Build) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "malote_build_info",
		Help:        "Always 1; the labels say which build is running.",
		ConstLabels: prometheus.Labels{"version": build.Version, "revision": build.Revision, "goversion": build.Go},
	})
	info.Set(1)
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		info,
	)
	return registry
}

// Handler serves the metrics of a registry. A metric that cannot be read is logged
// and left out.
func Handler(registry *prometheus.Registry, logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		ErrorHandling: promhttp.ContinueOnError,
		Registry:      registry,
	})
}

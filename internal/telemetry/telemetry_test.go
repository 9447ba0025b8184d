package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/telemetry"
)

func TestLoggerWritesItsFormatFromItsLevelOn(t *testing.T) {
	tests := []struct {
		format telemetry.LogFormat
		level  string
		want   int // lines of the four that are logged
	}{
		{telemetry.LogText, "debug", 4},
		{telemetry.LogText, "info", 3},
		{telemetry.LogJSON, "WARN", 2},
		{telemetry.LogJSON, "error", 1},
	}
	for _, test := range tests {
		t.Run(string(test.format)+" "+test.level, func(t *testing.T) {
			var out bytes.Buffer
			logger, err := telemetry.NewLogger(&out, test.format, test.level)
			if err != nil {
				t.Fatal(err)
			}
			for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
				logger.Log(t.Context(), level, "settled", "delivery", "dlv_1")
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) != test.want {
				t.Errorf("%d lines, want %d:\n%s", len(lines), test.want, out.String())
			}
			if isJSON := json.Valid([]byte(lines[0])); isJSON != (test.format == telemetry.LogJSON) {
				t.Errorf("the line %q is in the wrong format", lines[0])
			}
		})
	}
}

func TestLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, test := range []struct{ format, level, want string }{
		{"xml", "info", "text or json"},
		{"text", "loud", "debug, info, warn or error"},
	} {
		_, err := telemetry.NewLogger(&bytes.Buffer{}, telemetry.LogFormat(test.format), test.level)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("NewLogger(%q, %q): %v, want an error that says %q", test.format, test.level, err, test.want)
		}
	}
}

func TestLoggerHidesSecrets(t *testing.T) {
	for _, format := range []telemetry.LogFormat{telemetry.LogText, telemetry.LogJSON} {
		var out bytes.Buffer
		logger, err := telemetry.NewLogger(&out, format, "info")
		if err != nil {
			t.Fatal(err)
		}
		secret := hook.Secret("whsec_hunter2")
		logger.Info("a source was changed", "secret", secret, "spec", hook.SourceSpec{Secret: secret, Secrets: []hook.Secret{secret}})
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("%s: the log shows a secret: %s", format, out.String())
		}
	}
}

func TestBuildSaysWhatItKnows(t *testing.T) {
	if got := telemetry.ReadBuild("v1.2.3").Version; got != "v1.2.3" {
		t.Errorf("version %q, want the linker's", got)
	}
	build := telemetry.ReadBuild("")
	if build.Version == "" || build.Version == "(devel)" || build.Go != runtime.Version() || !strings.Contains(build.Platform, "/") {
		t.Errorf("ReadBuild(\"\") = %+v", build)
	}
}

func TestHandlerServesRuntimeProcessAndBuild(t *testing.T) {
	registry := telemetry.NewRegistry(telemetry.ReadBuild("v1.2.3"))
	recorder := httptest.NewRecorder()
	handler := telemetry.Handler(registry, slog.New(slog.DiscardHandler))
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	for _, want := range []string{"go_goroutines ", `malote_build_info{`, `version="v1.2.3"`} {
		if !strings.Contains(recorder.Body.String(), want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
}

package upkeep_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"malote.dev/malote/internal/store"
	"malote.dev/malote/internal/upkeep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a store that notes when it was pruned.
type fake struct {
	rounds []time.Time
	pruned store.Pruned
	err    error
	block  bool // Prune waits for the end of its context
}

func (f *fake) Prune(ctx context.Context, now time.Time) (store.Pruned, error) {
	f.rounds = append(f.rounds, now)
	if f.block {
		<-ctx.Done()
		return f.pruned, ctx.Err()
	}
	return f.pruned, f.err
}

func (f *fake) Stats(context.Context) (store.Stats, error) {
	return store.Stats{SizeBytes: 4096, Waiting: 3}, f.err
}

// work runs an engine for a while of fake time and returns its log.
func work(t *testing.T, options upkeep.Options, while time.Duration) string {
	t.Helper()
	var log bytes.Buffer
	options.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if options.Metrics == nil {
		options.Metrics = prometheus.NewRegistry()
	}
	engine := upkeep.New(options)
	ctx, cancel := context.WithTimeout(t.Context(), while)
	defer cancel()
	if err := engine.Run(ctx); err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
	return log.String()
}

func TestRoundsComeAtOnceAndThenByTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keeper := &fake{}
		began := time.Now()
		log := work(t, upkeep.Options{Store: keeper, Interval: time.Hour}, 24*time.Hour)
		if len(keeper.rounds) < 22 || len(keeper.rounds) > 27 {
			t.Fatalf("%d rounds in a day, want about 24", len(keeper.rounds))
		}
		if !keeper.rounds[0].Equal(began) {
			t.Errorf("the first round came after %s, want at once", keeper.rounds[0].Sub(began))
		}
		exact := 0
		for i, at := range keeper.rounds[1:] {
			gap := at.Sub(keeper.rounds[i])
			if gap < 54*time.Minute || gap > 66*time.Minute {
				t.Errorf("a gap of %s, want an hour and up to a tenth of it either way", gap)
			}
			if gap == time.Hour {
				exact++
			}
		}
		if exact > 3 {
			t.Errorf("%d gaps of exactly the interval: nothing spreads them", exact)
		}
		if log != "" {
			t.Errorf("rounds that removed nothing were logged:\n%s", log)
		}
	})
}

func TestWhatWasRemovedIsLoggedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		keeper := &fake{pruned: store.Pruned{Events: 7, Deliveries: 9}}
		log := work(t, upkeep.Options{Store: keeper, Interval: time.Hour, Metrics: registry}, time.Minute)
		if !strings.Contains(log, "events=7") || !strings.Contains(log, "deliveries=9") {
			t.Errorf("the log does not say what was removed:\n%s", log)
		}
		want := `
# HELP malote_store_size_bytes Size of the stored data on the disk.
# TYPE malote_store_size_bytes gauge
malote_store_size_bytes 4096
# HELP malote_upkeep_removed_total Rows that the retention removed, by what they were.
# TYPE malote_upkeep_removed_total counter
malote_upkeep_removed_total{what="attempt"} 0
malote_upkeep_removed_total{what="audit_entry"} 0
malote_upkeep_removed_total{what="dedupe_key"} 0
malote_upkeep_removed_total{what="delivery"} 9
malote_upkeep_removed_total{what="event"} 7
malote_upkeep_removed_total{what="minute"} 0
malote_upkeep_removed_total{what="refusal"} 0
malote_upkeep_removed_total{what="replay"} 0
`
		err := testutil.GatherAndCompare(registry, strings.NewReader(want), "malote_store_size_bytes", "malote_upkeep_removed_total")
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAFailureIsLoggedAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keeper := &fake{err: errors.New("disk on fire")}
		log := work(t, upkeep.Options{Store: keeper, Interval: time.Minute}, 10*time.Minute)
		if len(keeper.rounds) < 8 {
			t.Errorf("%d rounds, want the engine to go on", len(keeper.rounds))
		}
		if !strings.Contains(log, "disk on fire") {
			t.Errorf("the log does not tell the failure:\n%s", log)
		}
	})
}

func TestStoppingInTheMiddleOfARoundIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := work(t, upkeep.Options{Store: &fake{block: true}}, time.Second)
		if strings.Contains(log, "could not be removed") {
			t.Errorf("stopping was logged as a failure:\n%s", log)
		}
	})
}

func TestAScarceDiskIsToldOnceEachWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := []int64{5 << 30, 1 << 20, 2 << 20, 3 << 20, 6 << 30, 7 << 30}
		look := 0
		space := func() (upkeep.Space, error) {
			now := free[min(look, len(free)-1)]
			look++
			return upkeep.Space{Free: now, Total: 8 << 30}, nil
		}
		log := work(t, upkeep.Options{Store: &fake{}, Space: space, Interval: time.Minute}, 10*time.Minute)
		if n := strings.Count(log, "nearly full"); n != 1 {
			t.Errorf("%d warnings, want 1:\n%s", n, log)
		}
		if n := strings.Count(log, "has room again"); n != 1 {
			t.Errorf("%d notes that it is over, want 1:\n%s", n, log)
		}
	})
}

func TestSpaceOf(t *testing.T) {
	space, err := upkeep.SpaceOf(t.TempDir())()
	if err != nil {
		t.Fatal(err)
	}
	if space.Free <= 0 || space.Total < space.Free {
		t.Errorf("SpaceOf() = %+v", space)
	}
	if _, err := upkeep.SpaceOf(filepath.Join(t.TempDir(), "missing"))(); err == nil {
		t.Error("the space of a folder that does not exist was read")
	}
}

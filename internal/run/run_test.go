package run_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"malote.dev/malote/internal/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// recorder notes in which order things happen.
type recorder struct {
	mu   sync.Mutex
	seen []string
}

func (r *recorder) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, what)
}

func TestStopsInReverseOrderOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order recorder
		group := run.New(quiet())
		for i, name := range []string{"store", "deliver", "http"} {
			group.Add(name, time.Minute, run.Func(func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Duration(i+1) * time.Second) // the later ones are slower, and still end first
				order.add(name)
				return ctx.Err()
			}))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := group.Run(ctx); err != nil {
			t.Errorf("Run() = %v, want nil: being asked to stop is no failure", err)
		}
		if want := []string{"http", "deliver", "store"}; !slices.Equal(order.seen, want) {
			t.Errorf("stopped in the order %v, want %v", order.seen, want)
		}
	})
}

func TestAFailureStopsTheOthersAndIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no space left")
		stopped := false
		group := run.New(quiet())
		group.Add("store", time.Minute, run.Func(func(ctx context.Context) error {
			<-ctx.Done()
			stopped = true
			return nil
		}))
		group.Add("http", time.Minute, run.Func(func(context.Context) error { return broken }))
		err := group.Run(t.Context())
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "http: ") {
			t.Errorf("Run() = %v, want the failure with the name of its service", err)
		}
		if !stopped {
			t.Error("the other service was not stopped")
		}
	})
}

func TestACanceledContextOfItsOwnIsAFailure(t *testing.T) {
	group := run.New(quiet())
	group.Add("lookup", time.Minute, run.Func(func(context.Context) error { return context.Canceled }))
	if err := group.Run(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("Run() = %v, want the cancellation that nobody asked for", err)
	}
}

func TestAServiceThatHangsIsNamedAndLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		ended := false
		group := run.New(quiet())
		group.Add("store", time.Second, run.Func(func(ctx context.Context) error {
			<-ctx.Done()
			ended = true
			return nil
		}))
		group.Add("deliver", 10*time.Second, run.Func(func(context.Context) error {
			<-release
			return nil
		}))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		err := group.Run(ctx)
		if !errors.Is(err, run.ErrStuck) || !strings.Contains(err.Error(), "deliver") {
			t.Errorf("Run() = %v, want ErrStuck with the service's name", err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("waited %s, want the service's 10s", took)
		}
		if !ended {
			t.Error("the services below were not stopped")
		}
	})
}

func TestEndsWhenNobodyHasWorkLeft(t *testing.T) {
	group := run.New(quiet())
	for i := range 3 {
		group.Add(fmt.Sprint(i), time.Minute, run.Func(func(context.Context) error { return nil }))
	}
	if err := group.Run(t.Context()); err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
	if err := group.Run(t.Context()); !errors.Is(err, run.ErrUsed) {
		t.Errorf("a second Run() = %v, want ErrUsed", err)
	}
	if err := run.New(quiet()).Run(t.Context()); err != nil {
		t.Errorf("Run() of an empty group = %v, want nil", err)
	}
}

// TestStress runs many groups whose services end, fail and are stopped at any moment,
// and asks of each that nothing is left running and every failure is reported.
func TestStress(t *testing.T) {
	for round := range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		group := run.New(quiet())
		size := 1 + rand.IntN(8)
		ended := make([]bool, size)
		var failures []error
		for i := range size {
			var failure error
			if rand.IntN(6) == 0 {
				failure = fmt.Errorf("service %d fails", i)
				failures = append(failures, failure)
			}
			early := rand.IntN(3) == 0
			group.Add(fmt.Sprint(i), time.Minute, run.Func(func(ctx context.Context) error {
				defer func() { ended[i] = true }()
				if !early {
					<-ctx.Done()
				}
				return failure
			}))
		}
		go cancel()
		err := group.Run(ctx)
		cancel()
		if slices.Contains(ended, false) {
			t.Fatalf("round %d: a service is still running", round)
		}
		for _, failure := range failures {
			if !errors.Is(err, failure) {
				t.Fatalf("round %d: Run() = %v does not report %v", round, err, failure)
			}
		}
	}
}

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"time"
)

// way is how a life of the program ends.
type way struct {
	name   string
	weight int
	end    func(ctx context.Context, s *system, chance *rand.Rand) error
}

// ways are all the ways, by how often they are taken.
func ways() []way {
	kill := func(_ context.Context, s *system, _ *rand.Rand) error {
		s.kill()
		return nil
	}
	return []way{
		{"killed", 12, kill},
		{"stopped", 2, func(ctx context.Context, s *system, _ *rand.Rand) error { return s.stop(ctx) }},
		{"killed while it stopped", 2, func(ctx context.Context, s *system, chance *rand.Rand) error {
			_ = s.command.Process.Signal(syscall.SIGTERM)
			pause(ctx, between(chance, 0, 200*time.Millisecond))
			s.kill()
			return nil
		}},
		{"killed, and again during the start", 4, func(ctx context.Context, s *system, chance *rand.Rand) error {
			s.kill()
			if _, err := s.launch(ctx); err != nil {
				return err
			}
			pause(ctx, between(chance, 0, 150*time.Millisecond))
			s.kill()
			return nil
		}},
		{"killed, and again as soon as it listened", 2, func(ctx context.Context, s *system, chance *rand.Rand) error {
			s.kill()
			if err := s.start(ctx); err != nil {
				return err
			}
			pause(ctx, between(chance, 0, 50*time.Millisecond))
			s.kill()
			return nil
		}},
	}
}

func choose(chance *rand.Rand) way {
	all, total := ways(), 0
	for _, w := range all {
		total += w.weight
	}
	at := chance.IntN(total)
	for _, w := range all {
		if at -= w.weight; at < 0 {
			return w
		}
	}
	return all[0]
}

// rounds ends the program again and again and starts it anew.
func rounds(ctx context.Context, set *settings, s *system) error {
	chance := set.chance(chanceOfEnds)
	for round := range set.rounds {
		if !pause(ctx, between(chance, 50*time.Millisecond, 2*time.Second)) {
			return ctx.Err()
		}
		way := choose(chance)
		if err := way.end(ctx, s, chance); err != nil {
			return fmt.Errorf("round %d, %s: %w", round+1, way.name, err)
		}
		// A look at the data before the next start may already mend what a crash left, so
		// that every other time the program itself meets it first.
		before := chance.IntN(2) == 0
		if before {
			s.doctor(ctx)
		}
		if err := s.start(ctx); err != nil {
			return fmt.Errorf("round %d, after it was %s: %w", round+1, way.name, err)
		}
		if !before {
			s.doctor(ctx)
		}
		fmt.Printf("round %d: %s\n", round+1, way.name)
	}
	return nil
}

// births ends the program during its first start, again and again, each time on a new
// folder: whatever moment that is, the next start has to work, with an admin token.
func births(ctx context.Context, set *settings, faults *faults) error {
	chance := set.chance(chanceOfBirths)
	receiver, err := newReceiver(ctx, set.chance(chanceOfReceiver))
	if err != nil {
		return err
	}
	defer receiver.close()
	for n := range set.births {
		s, err := newSystem(set, receiver, faults)
		if err != nil {
			return err
		}
		s.data = filepath.Join(set.dir, fmt.Sprintf("birth-%d", n+1))
		for range 2 {
			if _, err := s.launch(ctx); err != nil {
				return err
			}
			pause(ctx, between(chance, 0, 120*time.Millisecond))
			s.kill()
		}
		err = s.start(ctx)
		if err == nil {
			err = s.must(ctx, "GET", "/source", nil)
		}
		s.doctor(ctx)
		s.kill()
		if err != nil {
			return fmt.Errorf("after it was killed during its first start: %w", err)
		}
	}
	return nil
}

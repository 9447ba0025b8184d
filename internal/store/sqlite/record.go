package sqlite

import (
	"context"

	"malote.dev/malote/internal/hook"
	"malote.dev/malote/internal/store/sqlite/commit"
	"malote.dev/malote/internal/store/sqlstore/codec"
)

// Record implements store.Audit.
func (s *Store) Record(ctx context.Context, entry *hook.AuditEntry) error {
	e := *entry
	if e.At.IsZero() {
		e.At = s.now()
	}
	if e.ID == 0 {
		e.ID = hook.AuditID(s.ids.Next(e.At))
	}
	e.At = e.ID.Time()
	err := s.writer.Do(ctx, &operation{Apply: func(ctx context.Context, b *batch) error {
		_, err := b.w.sql.insertAudit.Exec(ctx, int64(e.ID), int64(e.Project), int64(e.Token), e.Actor, e.Action, e.Subject, e.Remote,
			commit.NullText(string(e.Detail)))
		return err
	}})
	if err == nil {
		*entry = e
	}
	return err
}

// SaveCircuit implements store.Circuits.
func (s *Store) SaveCircuit(ctx context.Context, circuit hook.Circuit) error {
	data := codec.EncodeCircuit(&circuit)
	return s.writer.Do(ctx, &operation{Apply: func(ctx context.Context, b *batch) error {
		if circuit.Since.IsZero() {
			_, err := b.w.sql.dropCircuit.Exec(ctx, int64(circuit.Destination))
			return err
		}
		_, err := b.w.sql.saveCircuit.Exec(ctx, data, int64(circuit.Destination), int64(circuit.Project))
		return err
	}})
}

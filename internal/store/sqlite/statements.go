package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"maps"

	"malote.dev/malote/internal/store/sqlite/commit"
)

// statements are all that the writer runs, prepared once. A test asks SQLite for the
// plan of each.
type statements struct {
	addSource, addConnection *commit.Statement

	insertEvent, repeatEvent               *commit.Statement
	saveFresh, dropFresh, saveRun, dropRun *commit.Statement
	saveChunk, readChunk, dropChunks       *commit.Statement
	insertSettled, insertSettledFull       *commit.Statement
	insertWaiting                          *commit.Statement
	readDelivery, readState                *commit.Statement
	updateDelivery, updateFirst            *commit.Statement
	noteAttempts                           *commit.Statement
	insertAttempt                          *commit.Statement
	findDue, lease, renew, findExpired     *commit.Statement
	eventsFrom                             *commit.Statement
	nextTurn, findByState, findPaused      *commit.Statement
	keyFirst, keyLast, keyActive           *commit.Statement
	makeNext, findProbe                    *commit.Statement

	saveMark, saveNumbers, readNumbers, addBacklog *commit.Statement

	insertRefusal, boundRefusals, admit *commit.Statement
	touchToken                          *commit.Statement

	oldEvents, deleteEvent, deleteRepeat, deleteDelivery, deleteAttempts *commit.Statement
	oldRefusals, oldNumbers                                              *commit.Statement
	forgetSource, forgetConnection                                       *commit.Statement
	fillProbe, emptyProbe                                                *commit.Statement

	addProgress, saveExample                        *commit.Statement
	insertReplay, readReplay, moveReplay, endReplay *commit.Statement
	findEvent, setReplay, findReplayed, replayedOf  *commit.Statement
	insertAudit, oldAudit, oldReplays, sweptReplay  *commit.Statement
	saveCircuit, dropCircuit                        *commit.Statement
}

// jobColumns are what a claim reads of a delivery.
const jobColumns = "id, project, event, connection, attempts, created_at, manual, reason, order_key, probes, replay"

// openOrdered is what the index of ordered deliveries is made with.
const openOrdered = " order_key IS NOT NULL AND state IN (1, 2, 5)"

// texts names each statement's text. Literals such as "state = 1" are part of them
// because a partial index is only used for the very condition that it is made with.
func (s *statements) texts() map[**commit.Statement]string {
	all := s.logTexts()
	maps.Copy(all, s.countTexts())
	maps.Copy(all, s.replayTexts())
	return all
}

// logTexts are those of events and deliveries.
func (s *statements) logTexts() map[**commit.Statement]string {
	return map[**commit.Statement]string{
		&s.addSource:     "INSERT INTO log_source (project, source) VALUES (?, ?) ON CONFLICT DO NOTHING",
		&s.addConnection: "INSERT INTO log_connection (project, connection, destination) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",

		&s.insertEvent: "INSERT INTO event (id, project, source, type, key, targets, request, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		&s.repeatEvent: "INSERT INTO repeat (event, times) SELECT id, 1 FROM event WHERE id = ? ON CONFLICT (event) DO UPDATE SET times = times + 1",

		&s.saveFresh:  "INSERT INTO dedupe_fresh (id, window, entries) VALUES (?, ?, ?)",
		&s.dropFresh:  "DELETE FROM dedupe_fresh WHERE id = ?",
		&s.saveRun:    "INSERT INTO dedupe_run (id, window, expires, hashes, filter, firsts) VALUES (?, ?, ?, ?, ?, ?)",
		&s.dropRun:    "DELETE FROM dedupe_run WHERE id = ?",
		&s.saveChunk:  "INSERT INTO dedupe_chunk (id, entries) VALUES (?, ?)",
		&s.readChunk:  "SELECT entries FROM dedupe_chunk WHERE id = ?",
		&s.dropChunks: "DELETE FROM dedupe_chunk WHERE id BETWEEN ? AND ?",

		&s.insertSettled: "INSERT INTO delivery (id, project, event, connection, destination, state, attempts, created_at, updated_at, reason, next_at, first)" +
			" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		&s.insertSettledFull: "INSERT INTO delivery (id, project, event, connection, destination, state, attempts, created_at, updated_at, reason, next_at, first," +
			" cause, probes, order_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		&s.insertWaiting: "INSERT INTO delivery (id, project, event, connection, destination, state, attempts, created_at, updated_at, reason, next_at, lease," +
			" replay, cause, order_key) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
		&s.readDelivery: "SELECT project, connection, destination, state, attempts, manual, next_at, event, replay, cause, order_key, probes" +
			" FROM delivery WHERE id = ?",
		&s.readState: "SELECT state FROM delivery WHERE id = ?",
		&s.updateDelivery: "UPDATE delivery SET state = ?, attempts = ?, updated_at = ?, reason = ?, next_at = ?, manual = ?, cause = ?, probes = ?," +
			" owner = NULL, lease = NULL WHERE id = ?",
		&s.noteAttempts:  "UPDATE delivery SET attempts = ?, probes = ?, updated_at = ? WHERE id = ?",
		&s.updateFirst:   "UPDATE delivery SET first = ? WHERE id = ?",
		&s.insertAttempt: "INSERT INTO attempt (delivery, number, data) VALUES (?, ?, ?)",
		&s.nextTurn: "SELECT connection FROM delivery WHERE destination = ? AND connection > ? AND connection <= ? AND state = 1" +
			" ORDER BY connection LIMIT 1",
		&s.findDue: "SELECT " + jobColumns + " FROM delivery" +
			" WHERE destination = ? AND connection = ? AND state = 1 AND next_at <= ? ORDER BY next_at, id LIMIT ?",
		&s.findProbe:   "SELECT " + jobColumns + " FROM delivery WHERE destination = ? AND id > ? AND cause = 2 ORDER BY id LIMIT ?",
		&s.lease:       "UPDATE delivery SET state = 2, owner = ?, lease = ?, next_at = NULL, cause = NULL, updated_at = ? WHERE id = ?",
		&s.renew:       "UPDATE delivery SET lease = ? WHERE id = ? AND state = 2 AND owner = ?",
		&s.findExpired: "SELECT id FROM delivery WHERE state = 2 AND lease <= ? ORDER BY lease LIMIT ?",
		&s.eventsFrom:  "SELECT id, project, targets, request FROM event WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
		&s.keyFirst:    "SELECT id FROM delivery WHERE connection = ? AND order_key = ? AND" + openOrdered + " ORDER BY id LIMIT 1",
		&s.keyLast: "SELECT id FROM delivery WHERE connection = ? AND order_key = ? AND id < ? AND" + openOrdered +
			" ORDER BY id DESC LIMIT ?",
		&s.keyActive: "SELECT id FROM delivery WHERE connection = ? AND order_key = ? AND order_key IS NOT NULL" +
			" AND (state = 2 OR state = 1 AND next_at IS NOT NULL) LIMIT 1",
		&s.makeNext:    "UPDATE delivery SET next_at = ? WHERE id = ?",
		&s.findByState: "SELECT id, destination FROM delivery WHERE connection = ? AND state = ? AND id > ? ORDER BY id LIMIT ?",
		&s.findPaused:  "SELECT id, destination FROM delivery WHERE connection = ? AND cause = 1 AND id > ? ORDER BY id LIMIT ?",
	}
}

// countTexts are those of counters, refused requests and what keeps all of it small.
func (s *statements) countTexts() map[**commit.Statement]string {
	return map[**commit.Statement]string{
		&s.saveMark: "UPDATE meta SET value = ? WHERE key = 'mark'",
		&s.saveNumbers: "INSERT INTO numbers (project, scope, id, minute, data) VALUES (?, ?, ?, ?, ?)" +
			" ON CONFLICT DO UPDATE SET data = excluded.data",
		&s.readNumbers: "SELECT data FROM numbers WHERE project = ? AND scope = ? AND id = ? AND minute = ?",
		&s.addBacklog: "INSERT INTO backlog (project, destination, state, deliveries) VALUES (?, ?, ?, ?)" +
			" ON CONFLICT DO UPDATE SET deliveries = deliveries + excluded.deliveries",

		&s.insertRefusal: "INSERT INTO refusal (id, project, source, data, payload) VALUES (?, ?, ?, ?, ?)",
		&s.boundRefusals: "DELETE FROM refusal WHERE id IN (SELECT id FROM refusal WHERE source = ? ORDER BY id DESC LIMIT 64 OFFSET ?)",
		&s.admit:         "UPDATE refusal SET admitted = ? WHERE id = ?",
		&s.touchToken:    "UPDATE token SET last_used_at = ? WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)",

		&s.oldEvents:      "SELECT id, targets FROM event WHERE source = ? AND id > ? AND id < ? ORDER BY id LIMIT ?",
		&s.deleteEvent:    "DELETE FROM event WHERE id = ?",
		&s.deleteRepeat:   "DELETE FROM repeat WHERE event = ?",
		&s.deleteDelivery: "DELETE FROM delivery WHERE id = ?",
		&s.deleteAttempts: "DELETE FROM attempt WHERE delivery = ?",
		&s.oldRefusals:    "DELETE FROM refusal WHERE id IN (SELECT id FROM refusal WHERE source = ? AND id < ? ORDER BY id LIMIT ?)",
		&s.oldNumbers: "DELETE FROM numbers WHERE (project, scope, id, minute) IN (SELECT project, scope, id, minute FROM numbers" +
			" WHERE project = ? AND scope = ? AND id = ? AND minute < ? ORDER BY minute LIMIT ?)",
		&s.forgetSource: "DELETE FROM log_source WHERE project = ?1 AND source = ?2 AND NOT EXISTS (SELECT 1 FROM source WHERE id = ?2)" +
			" AND NOT EXISTS (SELECT 1 FROM event WHERE source = ?2) AND NOT EXISTS (SELECT 1 FROM refusal WHERE source = ?2)",
		&s.forgetConnection: "DELETE FROM log_connection WHERE project = ?1 AND connection = ?2 AND destination = ?3" +
			" AND NOT EXISTS (SELECT 1 FROM connection WHERE id = ?2) AND NOT EXISTS (SELECT 1 FROM delivery WHERE connection = ?2)",

		&s.fillProbe:  "INSERT INTO meta (key, value) VALUES ('probe', zeroblob(16384))",
		&s.emptyProbe: "DELETE FROM meta WHERE key = 'probe'",
	}
}

// replayTexts are those of replays, circuits, examples of failures and the audit.
func (s *statements) replayTexts() map[**commit.Statement]string {
	return map[**commit.Statement]string{
		&s.addProgress: "UPDATE replay SET looked = looked + ?, selected = selected + ?, skipped = skipped + ?, made = made + ?," +
			" succeeded = succeeded + ?, failed = failed + ?, canceled = canceled + ?, attempts = attempts + ?, errors = errors + ?," +
			" updated_at = max(updated_at, ?) WHERE id = ?",
		&s.insertReplay: "INSERT INTO replay (id, project, state, cursor, updated_at, spec) SELECT ?, id, 'running', ?, ?, ? FROM project WHERE id = ?",
		&s.readReplay:   "SELECT state, cursor FROM replay WHERE id = ? AND project = ?",
		&s.moveReplay:   "UPDATE replay SET cursor = ? WHERE id = ?",
		&s.endReplay:    "UPDATE replay SET state = ?, reason = ?, ended_at = ?, updated_at = ? WHERE id = ? AND project = ? AND ended_at IS NULL",
		&s.sweptReplay:  "UPDATE replay SET swept = 1 WHERE id = ?",
		&s.findEvent:    "SELECT id FROM event WHERE id = ? AND project = ?",
		&s.setReplay:    "UPDATE delivery SET replay = ? WHERE id = ?",
		&s.findReplayed: "SELECT id FROM delivery WHERE replay = ? AND state = ? AND id > ? ORDER BY id LIMIT ?",
		&s.replayedOf:   "SELECT id FROM delivery WHERE event = ? AND replay IS NOT NULL",
		&s.oldReplays:   "DELETE FROM replay WHERE id IN (SELECT id FROM replay WHERE id < ? AND ended_at IS NOT NULL ORDER BY id LIMIT ?)",
		&s.insertAudit:  "INSERT INTO audit (id, project, token, actor, action, subject, remote, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		&s.oldAudit:     "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE project = ? AND id < ? ORDER BY id LIMIT ?)",
		&s.saveCircuit: "INSERT INTO circuit (destination, project, data) SELECT id, project, ? FROM destination WHERE id = ? AND project = ?" +
			" ON CONFLICT DO UPDATE SET data = excluded.data",
		&s.dropCircuit: "DELETE FROM circuit WHERE destination = ?",
		&s.saveExample: "INSERT INTO example (destination, outcome, at, delivery, number, status, text) SELECT id, ?, ?, ?, ?, ?, ? FROM destination" +
			" WHERE id = ? ON CONFLICT DO UPDATE SET at = excluded.at, delivery = excluded.delivery, number = excluded.number," +
			" status = excluded.status, text = excluded.text",
	}
}

// prepareAll prepares every statement on the writer's connection.
func prepareAll(ctx context.Context, conn driver.Conn) (*statements, error) {
	all := &statements{}
	var errs []error
	for into, text := range all.texts() {
		s, err := commit.Prepare(ctx, conn, text)
		*into = s
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// close finalizes the statements, without which the connection would not close.
func (s *statements) close() error {
	var errs []error
	for into := range s.texts() {
		if *into != nil {
			errs = append(errs, (*into).Close())
		}
	}
	return errors.Join(errs...)
}

-- Order by key, causes of holding, circuits, replays, examples of failures, audit.

ALTER TABLE delivery ADD COLUMN cause INTEGER;     -- while held: hook.Cause
ALTER TABLE delivery ADD COLUMN order_key TEXT;    -- NULL: without order
ALTER TABLE delivery ADD COLUMN probes INTEGER;    -- attempts that used up nothing of the schedule
ALTER TABLE delivery ADD COLUMN replay INTEGER;    -- what made it

-- What was held before there were causes was held by a pause.
UPDATE delivery SET cause = 1 WHERE state = 5;

-- A destination's connections take turns, so each finds its own. A pending delivery
-- that waits for the head of its key has no next_at.
CREATE INDEX delivery_turn ON delivery (destination, connection, next_at) WHERE state = 1;
DROP INDEX delivery_due;

-- The open deliveries of each key, the head first: the id follows by itself.
CREATE INDEX delivery_order ON delivery (connection, order_key) WHERE order_key IS NOT NULL AND state IN (1, 2, 5);

-- Of each key the one that is sent or due, at most.
CREATE INDEX delivery_active ON delivery (connection, order_key)
	WHERE order_key IS NOT NULL AND (state = 2 OR state = 1 AND next_at IS NOT NULL);

-- What a pause holds: it is looked for also where much is held for another cause.
CREATE INDEX delivery_paused ON delivery (connection) WHERE cause = 1;

-- What an open circuit holds, the oldest first.
CREATE INDEX delivery_circuit ON delivery (destination) WHERE cause = 2;

-- Heads that are parked.
CREATE INDEX delivery_parked ON delivery (project, connection, order_key) WHERE cause = 3;

-- What replays made, by replay and, because an event's row does not list it, by event.
CREATE INDEX delivery_replay ON delivery (replay, state) WHERE replay IS NOT NULL;
CREATE INDEX delivery_replayed ON delivery (event) WHERE replay IS NOT NULL;

CREATE TABLE circuit (
	destination INTEGER PRIMARY KEY,
	project     INTEGER NOT NULL,
	data        BLOB NOT NULL
);

CREATE TABLE replay (
	id         INTEGER PRIMARY KEY,
	project    INTEGER NOT NULL,
	state      TEXT NOT NULL,
	cursor     INTEGER NOT NULL,
	looked     INTEGER NOT NULL DEFAULT 0,
	selected   INTEGER NOT NULL DEFAULT 0,
	skipped    INTEGER NOT NULL DEFAULT 0,
	made       INTEGER NOT NULL DEFAULT 0,
	succeeded  INTEGER NOT NULL DEFAULT 0,
	failed     INTEGER NOT NULL DEFAULT 0,
	canceled   INTEGER NOT NULL DEFAULT 0,
	attempts   INTEGER NOT NULL DEFAULT 0,
	errors     INTEGER NOT NULL DEFAULT 0,
	updated_at INTEGER NOT NULL,
	ended_at   INTEGER,
	swept      INTEGER,           -- 1: what it made and nobody began was canceled after its end
	reason     TEXT,
	spec       BLOB NOT NULL
);
CREATE INDEX replay_project ON replay (project);
CREATE INDEX replay_running ON replay (state) WHERE ended_at IS NULL;

CREATE TABLE example ( -- the last failure of each kind at each destination, to the minute
	destination INTEGER NOT NULL,
	outcome     TEXT NOT NULL,
	at          INTEGER NOT NULL,
	delivery    INTEGER NOT NULL,
	number      INTEGER NOT NULL,
	status      INTEGER NOT NULL,
	text        TEXT NOT NULL,
	PRIMARY KEY (destination, outcome)
) WITHOUT ROWID;

CREATE TABLE audit (
	id      INTEGER PRIMARY KEY,
	project INTEGER NOT NULL,
	token   INTEGER NOT NULL,
	actor   TEXT NOT NULL,
	action  TEXT NOT NULL,
	subject TEXT NOT NULL,
	remote  TEXT NOT NULL,
	detail  TEXT
);
CREATE INDEX audit_project ON audit (project);

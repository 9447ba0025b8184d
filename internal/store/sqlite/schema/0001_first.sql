-- Times are Unix milliseconds, ids the 8-byte integers of package hook. Columns named
-- spec, request, targets, data and first hold compact encodings of package sqlstore;
-- a spec is sealed on top. See doc.go for why the tables are as they are.

CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value NOT NULL
) WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('revision', 0), ('mark', 0), ('leases', 0);

-- The catalogue.

CREATE TABLE project (
	id         INTEGER PRIMARY KEY,
	project    INTEGER NOT NULL DEFAULT 0,
	name       TEXT NOT NULL,
	version    INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	spec       BLOB NOT NULL,
	UNIQUE (project, name)
);

CREATE TABLE source (
	id         INTEGER PRIMARY KEY,
	project    INTEGER NOT NULL,
	name       TEXT NOT NULL,
	version    INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	spec       BLOB NOT NULL,
	UNIQUE (project, name)
);
CREATE INDEX source_project ON source (project);

CREATE TABLE destination (
	id         INTEGER PRIMARY KEY,
	project    INTEGER NOT NULL,
	name       TEXT NOT NULL,
	version    INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	spec       BLOB NOT NULL,
	UNIQUE (project, name)
);
CREATE INDEX destination_project ON destination (project);

CREATE TABLE connection (
	id          INTEGER PRIMARY KEY,
	project     INTEGER NOT NULL,
	name        TEXT NOT NULL,
	version     INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL,
	spec        BLOB NOT NULL,
	source      INTEGER NOT NULL,
	destination INTEGER NOT NULL,
	UNIQUE (project, name)
);
CREATE INDEX connection_project ON connection (project);
CREATE INDEX connection_source ON connection (source);
CREATE INDEX connection_destination ON connection (destination);

CREATE TABLE token (
	id           INTEGER PRIMARY KEY,
	project      INTEGER NOT NULL,
	name         TEXT NOT NULL,
	role         TEXT NOT NULL,
	hash         BLOB NOT NULL UNIQUE,
	created_at   INTEGER NOT NULL,
	last_used_at INTEGER,
	expires_at   INTEGER,
	UNIQUE (project, name)
);
CREATE INDEX token_project ON token (project);

-- The log.

CREATE TABLE log_source (
	project INTEGER NOT NULL,
	source  INTEGER NOT NULL,
	PRIMARY KEY (project, source)
) WITHOUT ROWID;

CREATE TABLE log_connection (
	project     INTEGER NOT NULL,
	connection  INTEGER NOT NULL,
	destination INTEGER NOT NULL,
	PRIMARY KEY (project, connection, destination)
) WITHOUT ROWID;

CREATE TABLE event (
	id      INTEGER PRIMARY KEY,
	project INTEGER NOT NULL,
	source  INTEGER NOT NULL,
	type    TEXT NOT NULL,
	key     TEXT NOT NULL,
	targets BLOB,
	request BLOB NOT NULL,
	payload BLOB NOT NULL
);
CREATE INDEX event_source ON event (source); -- the id follows by itself

CREATE TABLE repeat ( -- events that came more than once
	event INTEGER PRIMARY KEY,
	times INTEGER NOT NULL
);

CREATE TABLE delivery (
	id          INTEGER PRIMARY KEY,
	project     INTEGER NOT NULL,
	event       INTEGER NOT NULL,
	connection  INTEGER NOT NULL,
	destination INTEGER NOT NULL,
	state       INTEGER NOT NULL,
	attempts    INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL,
	reason      TEXT,
	next_at     INTEGER,          -- while pending
	manual      INTEGER,          -- 1: a person asked for the next attempt
	owner       TEXT,             -- of the lease, while sending
	lease       INTEGER,          -- its end
	first       BLOB              -- the first attempt
);
CREATE INDEX delivery_connection ON delivery (connection, state); -- the id follows by itself
CREATE INDEX delivery_due ON delivery (destination, next_at) WHERE state = 1;
CREATE INDEX delivery_lease ON delivery (lease) WHERE state = 2;

CREATE TABLE attempt ( -- from the second one on
	delivery INTEGER NOT NULL,
	number   INTEGER NOT NULL,
	data     BLOB NOT NULL,
	PRIMARY KEY (delivery, number)
) WITHOUT ROWID;

-- What is remembered to recognise duplicates: see package dedupe.

CREATE TABLE dedupe_fresh (
	id      INTEGER PRIMARY KEY,
	window  INTEGER NOT NULL, -- milliseconds
	entries BLOB NOT NULL
);

CREATE TABLE dedupe_run (
	id      INTEGER PRIMARY KEY,
	window  INTEGER NOT NULL,
	expires INTEGER NOT NULL,
	hashes  INTEGER NOT NULL, -- how many
	filter  BLOB NOT NULL,
	firsts  BLOB NOT NULL
);

CREATE TABLE dedupe_chunk (
	id      INTEGER PRIMARY KEY,
	entries BLOB NOT NULL
);

CREATE TABLE refusal (
	id       INTEGER PRIMARY KEY,
	project  INTEGER NOT NULL,
	source   INTEGER NOT NULL,
	admitted INTEGER,
	data     BLOB NOT NULL,
	payload  BLOB NOT NULL
);
CREATE INDEX refusal_source ON refusal (source); -- the id follows by itself

-- What is counted in the commits that it counts.

CREATE TABLE numbers (
	project INTEGER NOT NULL,
	scope   INTEGER NOT NULL, -- 1 source, 2 connection, 3 destination
	id      INTEGER NOT NULL,
	minute  INTEGER NOT NULL, -- since 1970
	data    BLOB NOT NULL,
	PRIMARY KEY (project, scope, id, minute)
) WITHOUT ROWID;

CREATE TABLE backlog ( -- deliveries by state, but for succeeded and canceled ones
	project     INTEGER NOT NULL,
	destination INTEGER NOT NULL,
	state       INTEGER NOT NULL,
	deliveries  INTEGER NOT NULL,
	PRIMARY KEY (project, destination, state)
) WITHOUT ROWID;

-- Looking for a type or a key reads the index alone, not the events.

CREATE INDEX event_search ON event (source, id, type, key);

DROP INDEX event_source;

-- Saved filters of devices.

CREATE TABLE filter (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    project INTEGER NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (project, name)
);

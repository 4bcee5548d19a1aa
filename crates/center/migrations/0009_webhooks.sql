-- Webhooks, and the outbox of what is to be told to them: a row is written with the change that it tells of.
-- `next_at`: when it is tried; NULL = delivered or given up.

CREATE TABLE webhook (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    project INTEGER NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (project, name)
);
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook INTEGER NOT NULL,
    project INTEGER NOT NULL,
    at INTEGER NOT NULL,
    next_at INTEGER,
    body TEXT NOT NULL
);
CREATE INDEX delivery_webhook ON delivery (webhook, id);
CREATE INDEX delivery_due ON delivery (webhook, next_at) WHERE next_at IS NOT NULL;

-- Accounts, who is a member of which project, and the proofs by which a request speaks for an account. Of every
-- secret only the SHA-256 is kept.

CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE membership (
    account INTEGER NOT NULL,
    project INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (account, project)
) WITHOUT ROWID;
CREATE INDEX membership_project ON membership (project);
CREATE TABLE session (
    digest TEXT PRIMARY KEY,
    account INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE token (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    account INTEGER NOT NULL,
    name TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (account, name)
);
CREATE TABLE invitation (
    digest TEXT PRIMARY KEY,
    project INTEGER,
    expires_at INTEGER NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;

-- Until now there was one built-in account; whoever sets the Center up becomes it, with everything that is there.
INSERT INTO membership (account, project, body)
    SELECT account, id, json_object('account', account, 'project', id, 'role', 'Owner') FROM project;

-- One-time links by which an account gets a new password: one for an account, a new one voids the old. Sessions are
-- found by their account, because a new password ends them.

CREATE TABLE password_reset (
    account INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX session_account ON session (account);

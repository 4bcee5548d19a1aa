-- Who did what, when, to which object. It only grows: the store itself refuses to change or delete a line.
-- `account`: of entries without a project, whom they are about.

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project INTEGER,
    account INTEGER,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX audit_project ON audit (project, id);
CREATE INDEX audit_account ON audit (account, id) WHERE project IS NULL;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

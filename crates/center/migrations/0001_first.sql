-- Entities are kept as JSON in `body`; the columns beside it are what is searched, unique or scoped.
-- Migrations only go forward: a newer Center's file is refused by an older one.

CREATE TABLE sequence (last INTEGER NOT NULL);
INSERT INTO sequence (last) VALUES (0);

CREATE TABLE project (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    project INTEGER NOT NULL, -- its own id: the scope's column has one name everywhere
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (account, name)
);
CREATE TABLE product (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    project INTEGER NOT NULL,
    name TEXT NOT NULL,
    product_key TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (project, name)
);
CREATE TABLE model (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    project INTEGER NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (project, name)
);
CREATE TABLE package (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    project INTEGER NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (project, name)
);
CREATE TABLE plan (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    project INTEGER NOT NULL,
    name TEXT NOT NULL,
    product_key TEXT NOT NULL,
    running INTEGER NOT NULL, -- Activated, Upgrading or Suspended
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (project, name)
);
CREATE INDEX plan_running ON plan (product_key) WHERE running = 1;

CREATE TABLE device (
    product_key TEXT NOT NULL,
    device_key TEXT NOT NULL,
    account INTEGER NOT NULL,
    project INTEGER NOT NULL,
    registration TEXT,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (product_key, device_key)
);
CREATE INDEX device_registration ON device (registration) WHERE registration IS NOT NULL;

CREATE TABLE plan_device (
    plan INTEGER NOT NULL,
    product_key TEXT NOT NULL,
    device_key TEXT NOT NULL,
    account INTEGER NOT NULL,
    project INTEGER NOT NULL,
    state TEXT NOT NULL,
    deadline INTEGER,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (plan, product_key, device_key)
);
CREATE INDEX plan_device_device ON plan_device (product_key, device_key);
CREATE INDEX plan_device_deadline ON plan_device (deadline) WHERE deadline IS NOT NULL;

-- Devices of a plan by state, moved in the transaction that moves the device.
CREATE TABLE counter (
    plan INTEGER NOT NULL,
    state TEXT NOT NULL,
    devices INTEGER NOT NULL,
    PRIMARY KEY (plan, state)
) WITHOUT ROWID;

CREATE TABLE log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL,
    plan INTEGER,
    product_key TEXT NOT NULL,
    device_key TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX log_device ON log (product_key, device_key, id);

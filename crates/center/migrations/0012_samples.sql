-- Devices of a plan by state over time: a bounded number of samples for each plan.

CREATE TABLE plan_sample (
    plan INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (plan, at)
) WITHOUT ROWID;

-- The devices of a plan are counted by the group of the plan's rollout; until now there was one.

CREATE TABLE counter_of_group (
    plan INTEGER NOT NULL,
    grp INTEGER NOT NULL,
    state TEXT NOT NULL,
    devices INTEGER NOT NULL,
    PRIMARY KEY (plan, grp, state)
) WITHOUT ROWID;
INSERT INTO counter_of_group (plan, grp, state, devices) SELECT plan, 0, state, devices FROM counter;
DROP TABLE counter;
ALTER TABLE counter_of_group RENAME TO counter;

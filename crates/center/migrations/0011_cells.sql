-- In which radio cell a device of a plan loads now; NULL = it does not, or did not tell its cell. Of the plans made
-- before it was not known.

ALTER TABLE plan_device ADD COLUMN cell INTEGER;
CREATE INDEX plan_device_cell ON plan_device (project, cell) WHERE cell IS NOT NULL;

-- The log of a whole plan is read in order, a page at a time.

CREATE INDEX log_plan ON log (plan, id) WHERE plan IS NOT NULL;

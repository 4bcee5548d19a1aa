-- The devices of a plan in order of their keys, all of them or those in one state: without a scan of the whole plan.

CREATE INDEX plan_device_order ON plan_device (plan, device_key);
CREATE INDEX plan_device_state ON plan_device (plan, state, device_key);
-- Offers that are not taken yet are counted once a second while a plan is full.
CREATE INDEX plan_device_waits ON plan_device (plan, state) WHERE deadline IS NOT NULL;

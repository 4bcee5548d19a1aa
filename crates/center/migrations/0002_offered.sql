-- Each step of a device in a plan says whether it is part of the offers in force: of the plans made before it was
-- one at a time, the present step while its offer was open.

UPDATE plan_device SET body = json_set(body, '$.steps', json((
    SELECT json_group_array(json_set(
        step.value, '$.offered',
        json(CASE
            WHEN json_extract(plan_device.body, '$.open') AND step.key = json_extract(plan_device.body, '$.current')
            THEN 'true' ELSE 'false' END)))
    FROM json_each(plan_device.body, '$.steps') AS step)));

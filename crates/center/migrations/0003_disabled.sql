-- Each device says whether an operator disabled it; until now none could be.

UPDATE device SET body = json_set(body, '$.disabled', json('false'));

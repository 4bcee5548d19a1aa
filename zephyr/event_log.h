/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef SOTA_EVENT_LOG_H_
#define SOTA_EVENT_LOG_H_

#include <stdbool.h>
#include <stdint.h>

struct sota_logged {
	uint32_t uptime_s;
	uint32_t bytes; /* of the package that were durable; with 10701 its length */
	uint16_t code;
	uint16_t reason; /* with 10706 */
	uint8_t type;
};

/* The event in a place, the oldest first; false behind the newest. */
bool sota_event_logged(uint32_t place, struct sota_logged *to);

#endif

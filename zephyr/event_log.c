/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The last events: a line each in the log, and a ring for `sota log`.
 */
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>

#include "event_log.h"
#include "shim.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

#ifdef CONFIG_SOTA_SHELL
#if CONFIG_SOTA_EVENT_LOG > 0
static struct sota_logged ring[CONFIG_SOTA_EVENT_LOG];
static struct k_spinlock lock;
/* Events ever kept; the newest is at (kept - 1) % CONFIG_SOTA_EVENT_LOG. */
static uint32_t kept;

static void keep(const struct sota_logged *event)
{
	k_spinlock_key_t key = k_spin_lock(&lock);
	struct sota_logged *newest = &ring[(kept - 1) % ARRAY_SIZE(ring)];

	/* 10702 comes every few seconds, others when the MCU asks again: the newest one stands for all of them, or there
	 * would be nothing else.
	 */
	if (kept > 0 && event->type == newest->type && event->code == newest->code &&
	    event->reason == newest->reason) {
		*newest = *event;
	} else {
		ring[kept % ARRAY_SIZE(ring)] = *event;
		kept++;
	}
	k_spin_unlock(&lock, key);
}

bool sota_event_logged(uint32_t place, struct sota_logged *to)
{
	k_spinlock_key_t key = k_spin_lock(&lock);
	uint32_t count = MIN(kept, ARRAY_SIZE(ring));
	bool there = place < count;

	if (there) {
		*to = ring[(kept - count + place) % ARRAY_SIZE(ring)];
	}
	k_spin_unlock(&lock, key);
	return there;
}
#else
static void keep(const struct sota_logged *event)
{
	ARG_UNUSED(event);
}

bool sota_event_logged(uint32_t place, struct sota_logged *to)
{
	ARG_UNUSED(place);
	ARG_UNUSED(to);
	return false;
}
#endif
#endif

void sota_shim_event(uint8_t type, uint16_t code, uint16_t reason, uint32_t bytes)
{
	LOG_INF("event %u,%u", type, code);
	if (reason != 0) {
		char name[32];

		sota_error_name(reason, name, sizeof(name));
		LOG_WRN("%u %s", reason, name);
	}
#ifdef CONFIG_SOTA_SHELL
	const struct sota_logged event = {
		.uptime_s = k_uptime_seconds(),
		.bytes = bytes,
		.code = code,
		.reason = reason,
		.type = type,
	};

	keep(&event);
#else
	ARG_UNUSED(bytes);
#endif
}

/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * A product in C: its own work, and firmware over the air beside it. The component's threads run by themselves.
 */
#include <stdio.h>
#include <zephyr/kernel.h>

#include <sota/sota.h>

static void on_event(const struct sota_event *event, void *user)
{
	ARG_UNUSED(user);
	printf("sota: %u,%u %s\n", event->type, event->code, event->payload);
	if (event->type == SOTA_EVENT_UPGRADE && event->code == SOTA_EVENT_PLAN) {
		/* A product that must not be disturbed now confirms later. */
		(void)sota_action(SOTA_CONFIRM);
	}
}

int main(void)
{
	sota_set_callback(on_event, NULL);
	while (true) {
		/* The product's own work. */
		k_sleep(K_SECONDS(1));
	}
	return 0;
}

/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * sota/sota.h, and the dispatcher on whose thread the application's callback runs.
 */
#include <string.h>
#include <zephyr/kernel.h>
#include <zephyr/init.h>

#include "readings.h"
#include "shim.h"

K_THREAD_STACK_DEFINE(dispatcher_stack, CONFIG_SOTA_DISPATCHER_STACK_SIZE);
struct k_work_q sota_dispatcher;
static struct k_work events;
static struct k_spinlock callback_lock;
static sota_callback_t callback;
static void *callback_user;

static void deliver(struct k_work *work)
{
	/* One at a time and by this thread only: not on its stack, which is the application's. */
	static struct sota_rs_event event;

	ARG_UNUSED(work);
	while (sota_rs_event(&event)) {
		k_spinlock_key_t key = k_spin_lock(&callback_lock);
		sota_callback_t call = callback;
		void *user = callback_user;

		k_spin_unlock(&callback_lock, key);
		if (call != NULL) {
			const struct sota_event told = {
				.type = event.kind,
				.code = event.code,
				.payload = event.payload,
				.length = event.length,
			};

			call(&told, user);
		}
	}
}

void sota_dispatch(void)
{
	(void)k_work_submit_to_queue(&sota_dispatcher, &events);
}

static int start_dispatcher(void)
{
	const struct k_work_queue_config config = {.name = "sota_dispatcher"};

	k_work_init(&events, deliver);
	k_work_queue_init(&sota_dispatcher);
	k_work_queue_start(&sota_dispatcher, dispatcher_stack, K_THREAD_STACK_SIZEOF(dispatcher_stack),
			   CONFIG_SOTA_DISPATCHER_PRIORITY, &config);
	return 0;
}

/* Before the threads. */
SYS_INIT(start_dispatcher, APPLICATION, 98);

void sota_set_callback(sota_callback_t call, void *user)
{
	k_spinlock_key_t key = k_spin_lock(&callback_lock);

	callback = call;
	callback_user = user;
	k_spin_unlock(&callback_lock, key);
	sota_rs_set_app(call != NULL);
}

int sota_connect(bool on)
{
	return sota_rs_connect(on);
}

int sota_set_mcu_version(const char *component, const char *version)
{
	return sota_rs_set_version(component, version);
}

bool sota_get_mcu_version(uint8_t place, char component[SOTA_COMPONENT_LEN + 1],
			  char version[SOTA_VERSION_LEN + 1])
{
	return sota_rs_component(place, component, version);
}

int sota_request(bool sha256)
{
	return sota_rs_request(sha256 ? 1 : 0);
}

int sota_action(enum sota_action action)
{
	return sota_rs_action((uint8_t)action);
}

int sota_read(uint32_t offset, void *data, size_t length)
{
	return sota_rs_read(offset, data, MIN(length, INT32_MAX));
}

int sota_rewind(uint32_t offset)
{
	return sota_rs_rewind(offset);
}

int sota_announce(void)
{
	return sota_rs_announce();
}

int sota_cancel(void)
{
	return sota_rs_cancel();
}

bool sota_get_status(struct sota_status *status)
{
	return sota_rs_status(status);
}

uint16_t sota_last_error(void)
{
	struct sota_status status;

	return sota_rs_status(&status) ? status.last_error : 0;
}

void sota_error_name(uint16_t error, char *name, size_t size)
{
	if (size > 0 && sota_rs_error_text(error, name, size) < 0) {
		strncpy(name, "?", size);
		name[size - 1] = '\0';
	}
}

__weak int sota_battery_percent(void)
{
#if defined(CONFIG_SOTA_READINGS) && DT_HAS_CHOSEN(sota_battery)
	return sota_readings_battery();
#elif defined(CONFIG_SOTA_NATIVE_SIM_OPTIONS)
	return sota_native_battery();
#else
	return -1;
#endif
}

__weak uint32_t sota_cell_id(void)
{
	return 0;
}

__weak int sota_rsrp_dbm(void)
{
#if defined(CONFIG_SOTA_READINGS) && DT_HAS_CHOSEN(sota_modem)
	return sota_readings_rsrp();
#elif defined(CONFIG_SOTA_NATIVE_SIM_OPTIONS)
	return sota_native_rsrp();
#else
	return 0;
#endif
}

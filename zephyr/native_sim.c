/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * Options of the native_sim program: what a product gets from its flash, its battery and its modem.
 */
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <zephyr/kernel.h>

#include <cmdline.h>
#include <posix_native_task.h>

#include "shim.h"

static char *server;
static char *device_key;
static char *version;
static bool end_on_restart;
/* The simulator sets what is not given to INT_MAX. */
static int battery;
static int rsrp;

static void add_options(void)
{
	static struct args_struct_t options[] = {
		{.option = "sota-server", .name = "uri", .type = 's', .dest = &server,
		 .descript = "The Center, coap://host:port; wins over what was set before"},
		{.option = "sota-device-key", .name = "key", .type = 's', .dest = &device_key,
		 .descript = "Device key; wins over what was set before"},
		{.option = "sota-battery", .name = "percent", .type = 'i', .dest = &battery,
		 .descript = "Battery in %, negative: not known (default 100)"},
		{.option = "sota-rsrp", .name = "dBm", .type = 'i', .dest = &rsrp,
		 .descript = "RSRP in dBm, 0: not known (default -80)"},
		{.option = "sota-version", .name = "version", .type = 's', .dest = &version,
		 .descript = "Version of the module's firmware instead of CONFIG_SOTA_COMPONENT_VERSION"},
		{.is_switch = true, .option = "sota-end-on-restart", .type = 'b', .dest = &end_on_restart,
		 .descript = "A restart ends the program: who started it plays the bootloader"},
		ARG_TABLE_ENDMARKER,
	};

	native_add_command_line_opts(options);
}

NATIVE_TASK(add_options, PRE_BOOT_1, 10);

static void use(enum sota_setting key, const char *value)
{
	if (value != NULL) {
		sota_rs_setting_loaded(key, (const uint8_t *)value, strlen(value));
	}
}

void sota_native_settings(void)
{
	use(SOTA_SETTING_SERVER, server);
	use(SOTA_SETTING_DEVICE_KEY, device_key);
}

int sota_native_battery(void)
{
	return battery == INT_MAX ? 100 : battery;
}

int sota_native_rsrp(void)
{
	return rsrp == INT_MAX ? -80 : rsrp;
}

const char *sota_native_version(void)
{
	return version;
}

bool sota_native_ends_on_restart(void)
{
	return end_on_restart;
}

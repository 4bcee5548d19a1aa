/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * Settings below sota/, and the device key from the hardware's id.
 */
#include <stdio.h>
#include <string.h>
#include <zephyr/drivers/hwinfo.h>
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>
#include <zephyr/settings/settings.h>

#include "shim.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

/* In the order of enum sota_setting. */
static const char *const setting_keys[] = {
	"product_key", "product_secret", "device_key", "device_secret", "server", "lifetime", "connect",
};
BUILD_ASSERT(ARRAY_SIZE(setting_keys) == SOTA_SETTING_COUNT, "a setting without a name");

#ifdef CONFIG_HWINFO
/* Where nothing else is set: the hardware's id in hexadecimal. */
static void device_key_of_hardware(void)
{
	char have[65];
	uint8_t id[16];
	char hex[2 * sizeof(id) + 1];
	ssize_t n;

	if (sota_rs_setting_text(SOTA_SETTING_DEVICE_KEY, have, sizeof(have)) > 0) {
		return;
	}
	n = hwinfo_get_device_id(id, sizeof(id));
	if (n > 0) {
		size_t length = bin2hex(id, n, hex, sizeof(hex));

		sota_rs_setting_loaded(SOTA_SETTING_DEVICE_KEY, (const uint8_t *)hex, length);
	}
}
#endif

#ifdef CONFIG_SOTA_SETTINGS
static int on_setting(const char *name, size_t len, settings_read_cb read, void *from)
{
	uint8_t value[128];
	ssize_t n;

	for (uint8_t key = 0; key < ARRAY_SIZE(setting_keys); key++) {
		if (strcmp(name, setting_keys[key]) != 0) {
			continue;
		}
		n = len <= sizeof(value) ? read(from, value, len) : -ENOMEM;
		if (n >= 0) {
			sota_rs_setting_loaded(key, value, n);
		}
		return 0;
	}
	return -ENOENT;
}

SETTINGS_STATIC_HANDLER_DEFINE(sota, "sota", NULL, on_setting, NULL, NULL);
#endif

void sota_settings_start(void)
{
#ifdef CONFIG_SOTA_SETTINGS
	int error = settings_subsys_init();

	if (error == 0) {
		error = settings_load_subtree("sota");
	}
	if (error != 0) {
		LOG_ERR("settings: %d; the defaults count", error);
	}
#endif
#ifdef CONFIG_HWINFO
	device_key_of_hardware();
#endif
#ifdef CONFIG_SOTA_NATIVE_SIM_OPTIONS
	sota_native_settings();
#endif
}

bool sota_shim_setting_save(uint8_t key, const uint8_t *value, uint32_t len)
{
#ifdef CONFIG_SOTA_SETTINGS
	char name[sizeof("sota/product_secret")];

	if (key >= ARRAY_SIZE(setting_keys)) {
		return false;
	}
	snprintf(name, sizeof(name), "sota/%s", setting_keys[key]);
	return settings_save_one(name, value, len) == 0;
#else
	ARG_UNUSED(key);
	ARG_UNUSED(value);
	ARG_UNUSED(len);
	return true;
#endif
}

/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The border between Zephyr and the Rust code of the port.
 *
 * sota_shim_*  plain functions around Zephyr's macros and inline system calls, called by Rust (src/sys.rs)
 * sota_rs_*    Rust functions called by C (src/api.rs)
 *
 * An int result of sota_rs_* is 0 or the number of an error (docs/errors.md).
 */
#ifndef SOTA_SHIM_H_
#define SOTA_SHIM_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sota/sota.h>

/* Who can be woken: enum Who of src/sys.rs. */
enum sota_who { SOTA_CLOUD, SOTA_ENGINE, SOTA_BRIDGE, SOTA_DISPATCHER, SOTA_WHO_COUNT };

/* struct Kconfig of src/config.rs. */
struct sota_kconfig {
	const char *server;
	const char *product_key;
	const char *product_secret;
	const char *device_key;
	const char *device_secret;
	const char *own_component;
	const char *own_version;
	uint32_t piece_limit;
	uint32_t info_wait_s;
	uint32_t start_wait_s;
	uint32_t downloading_period_s;
	uint32_t read_timeout_s;
	uint32_t update_timeout_s;
	uint32_t revert_grace_s;
	uint32_t lifetime_s;
	uint32_t awake_s;
	uint32_t nat_idle_s;
	uint16_t plan_object;
	int16_t min_rsrp_dbm;
	uint8_t min_battery_percent;
	uint8_t download_retries;
	uint8_t connect_mode;
	uint8_t log_level;
	uint8_t bearer;
	bool strict;
	bool auto_confirm;
	bool queue_mode;
	bool nb_iot;
	bool advanced_firmware_update;
};

/* struct Node of src/stm32.rs: a node sota,stm32. */
struct sota_stm32 {
	const char *component;
	const char *version;
	const char *chip;
	uint32_t baud;
	uint32_t give_up_s;
	uint8_t tries;
	bool mass_erase;
	bool go;
	bool pieces;
};

/* struct Node of src/smp.rs: a node sota,smp. */
struct sota_smp {
	const char *component;
	const char *version;
	uint32_t baud;
	uint32_t give_up_s;
	uint32_t boot_ms;
	uint8_t tries;
	uint8_t image;
	uint8_t window;
	uint8_t trials;
	bool upgrade_only;
};

/* struct CFault of src/sys.rs. */
struct sota_side_fault {
	const char *name;
	uint32_t length;
	uint32_t command;
	uint32_t detail;
	uint16_t number;
	bool failed;
};

/* Of SideError (docs/errors.md). */
#define SOTA_ERROR_SIDE_UART 680
#define SOTA_ERROR_SIDE_PINS 681

/* struct Area of src/sys.rs: bytes the component may use, 0 when the partition cannot be used. */
struct sota_area {
	uint32_t size;
	uint8_t erased;
};

/* Kept settings: enum Setting of src/config.rs. */
enum sota_setting {
	SOTA_SETTING_PRODUCT_KEY,
	SOTA_SETTING_PRODUCT_SECRET,
	SOTA_SETTING_DEVICE_KEY,
	SOTA_SETTING_DEVICE_SECRET,
	SOTA_SETTING_SERVER,
	SOTA_SETTING_LIFETIME, /* 4 bytes, little-endian */
	SOTA_SETTING_CONNECT,  /* 1 byte, 0..2 */
	SOTA_SETTING_COUNT,
};

/* struct CEvent of src/api.rs. */
struct sota_rs_event {
	uint16_t code;
	uint8_t kind;
	char payload[257];
	uint16_t length;
};

void sota_rs_init(void);
void sota_rs_engine(void);
void sota_rs_cloud(void);
void sota_rs_bridge(void);
void sota_rs_setting_loaded(uint8_t key, const uint8_t *value, uint32_t len);
int32_t sota_rs_setting_text(uint8_t key, char *to, uint32_t len);
bool sota_rs_setting_set(uint8_t key, const uint8_t *value, uint32_t len);
uint32_t sota_rs_lifetime(void);
uint8_t sota_rs_connect_mode(void);
void sota_rs_network(bool up);
int32_t sota_rs_connect(bool on);
int32_t sota_rs_set_version(const char *component, const char *version);
int32_t sota_rs_request(uint32_t mode);
int32_t sota_rs_action(uint8_t action);
int32_t sota_rs_rewind(uint32_t offset);
int32_t sota_rs_announce(void);
int32_t sota_rs_cancel(void);
int32_t sota_rs_read(uint32_t start, uint8_t *to, uint32_t len);
bool sota_rs_status(struct sota_status *to);
bool sota_rs_component(uint8_t place, char name[33], char version[65]);
bool sota_rs_event(struct sota_rs_event *to);
void sota_rs_set_app(bool listens);
int32_t sota_rs_error_text(uint16_t error, char *to, uint32_t len);

/* Parts of the shim for each other. */
void sota_shim_wake(uint8_t who);
int sota_net_start(void);
void sota_net_wake(void);
int sota_uart_start(void);
/* A line as if the MCU had sent it; its answer goes to `take` and not to the MCU. -EBUSY: the MCU is in the middle of a
 * line; -ETIMEDOUT: no final OK or ERROR. With CONFIG_SOTA_SHELL.
 */
int sota_uart_at(const char *line, void (*take)(const char *text, size_t length, void *user), void *user);
void sota_shim_reboot(void);
struct flash_area;
/* What of MCUboot's secondary slot is for staging; false: too small, or its first page and trailer cannot be erased. */
bool sota_bootloader_window(const struct flash_area *area, uint32_t page, uint32_t *from, uint32_t *size);
/* The image that runs is on trial: the secondary slot has the one that comes back. */
bool sota_bootloader_on_trial(void);
void sota_settings_start(void);
void sota_dispatch(void);
/* With CONFIG_SOTA_NATIVE_SIM_OPTIONS: what the command line of the native_sim program says. */
void sota_native_settings(void);
int sota_native_battery(void);
int sota_native_rsrp(void);
const char *sota_native_version(void);
bool sota_native_ends_on_restart(void);

#endif

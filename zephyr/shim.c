/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * Kernel: start, threads, waking, the engine's one asker, time, random, log, restart.
 */
#include <zephyr/kernel.h>
#include <zephyr/init.h>
#include <zephyr/logging/log.h>
#include <zephyr/random/random.h>
#include <zephyr/sys/reboot.h>

#ifdef CONFIG_SOTA_NATIVE_SIM_OPTIONS
#include <posix_board_if.h>
#endif

#include "shim.h"

LOG_MODULE_REGISTER(sota, CONFIG_SOTA_LOG_LEVEL);

K_THREAD_STACK_DEFINE(engine_stack, CONFIG_SOTA_ENGINE_STACK_SIZE);
K_THREAD_STACK_DEFINE(cloud_stack, CONFIG_SOTA_CLOUD_STACK_SIZE);
static struct k_thread engine_thread;
static struct k_thread cloud_thread;
#ifdef CONFIG_SOTA_BRIDGE
K_THREAD_STACK_DEFINE(bridge_stack, CONFIG_SOTA_BRIDGE_STACK_SIZE);
static struct k_thread bridge_thread;
#endif

/* One pending wake-up is as good as many. */
static K_SEM_DEFINE(wake_engine, 0, 1);
static K_SEM_DEFINE(wake_bridge, 0, 1);
static K_MUTEX_DEFINE(call_lock);
static K_SEM_DEFINE(call_answered, 0, 1);
static atomic_t started;

#ifdef CONFIG_SOTA_NATIVE_SIM_OPTIONS
static struct sota_kconfig kconfig = {
#else
static const struct sota_kconfig kconfig = {
#endif
	.server = CONFIG_SOTA_SERVER_URI,
	.product_key = CONFIG_SOTA_PRODUCT_KEY,
	.product_secret = CONFIG_SOTA_PRODUCT_SECRET,
	.device_key = CONFIG_SOTA_DEVICE_KEY,
	.device_secret = CONFIG_SOTA_DEVICE_SECRET,
	.own_component = CONFIG_SOTA_COMPONENT_NAME,
	.own_version = CONFIG_SOTA_COMPONENT_VERSION,
	.piece_limit = CONFIG_SOTA_PIECE_SIZE,
	.info_wait_s = CONFIG_SOTA_INFO_WAIT_S,
	.start_wait_s = CONFIG_SOTA_START_WAIT_S,
	.downloading_period_s = CONFIG_SOTA_DOWNLOADING_PERIOD_S,
	.read_timeout_s = CONFIG_SOTA_READ_TIMEOUT_S,
	.update_timeout_s = CONFIG_SOTA_UPDATE_TIMEOUT_S,
	.revert_grace_s = CONFIG_SOTA_REVERT_GRACE_S,
	.lifetime_s = CONFIG_SOTA_LIFETIME_S,
	.awake_s = CONFIG_SOTA_AWAKE_S,
	.nat_idle_s = CONFIG_SOTA_NAT_IDLE_S,
	.plan_object = CONFIG_SOTA_PLAN_OBJECT_ID,
	.min_rsrp_dbm = CONFIG_SOTA_MIN_RSRP_DBM,
	.min_battery_percent = CONFIG_SOTA_MIN_BATTERY_PERCENT,
	.download_retries = CONFIG_SOTA_DOWNLOAD_RETRIES,
	.connect_mode = IS_ENABLED(CONFIG_SOTA_CONNECT_AUTO) ? 2 : 0,
	.log_level = CONFIG_SOTA_LOG_LEVEL,
	.bearer = CONFIG_SOTA_BEARER,
	.strict = IS_ENABLED(CONFIG_SOTA_STRICT_QUECTHING),
	.auto_confirm = IS_ENABLED(CONFIG_SOTA_AUTO_CONFIRM),
	.queue_mode = IS_ENABLED(CONFIG_SOTA_QUEUE_MODE),
	.nb_iot = IS_ENABLED(CONFIG_SOTA_LINK_NBIOT),
	.advanced_firmware_update = IS_ENABLED(CONFIG_SOTA_LWM2M_33629),
};

BUILD_ASSERT(sizeof(CONFIG_SOTA_SERVER_URI) <= 129, "CONFIG_SOTA_SERVER_URI: at most 128 bytes");
BUILD_ASSERT(sizeof(CONFIG_SOTA_PRODUCT_KEY) <= 65, "CONFIG_SOTA_PRODUCT_KEY: at most 64 bytes");
BUILD_ASSERT(sizeof(CONFIG_SOTA_PRODUCT_SECRET) <= 65, "CONFIG_SOTA_PRODUCT_SECRET: at most 64 bytes");
BUILD_ASSERT(sizeof(CONFIG_SOTA_DEVICE_KEY) <= 65, "CONFIG_SOTA_DEVICE_KEY: at most 64 bytes");
BUILD_ASSERT(sizeof(CONFIG_SOTA_DEVICE_SECRET) <= 65, "CONFIG_SOTA_DEVICE_SECRET: at most 64 bytes");
BUILD_ASSERT(sizeof(CONFIG_SOTA_COMPONENT_NAME) > 1 && sizeof(CONFIG_SOTA_COMPONENT_NAME) <= 33,
	     "CONFIG_SOTA_COMPONENT_NAME: 1 to 32 bytes");
BUILD_ASSERT(sizeof(CONFIG_SOTA_COMPONENT_VERSION) > 1 && sizeof(CONFIG_SOTA_COMPONENT_VERSION) <= 65,
	     "CONFIG_SOTA_COMPONENT_VERSION: 1 to 64 bytes");

const struct sota_kconfig *sota_shim_kconfig(void)
{
#ifdef CONFIG_SOTA_NATIVE_SIM_OPTIONS
	if (sota_native_version() != NULL) {
		kconfig.own_version = sota_native_version();
	}
#endif
	return &kconfig;
}

static void enter(void *entry, void *unused1, void *unused2)
{
	ARG_UNUSED(unused1);
	ARG_UNUSED(unused2);
	((void (*)(void))entry)();
}

static const struct {
	struct k_thread *thread;
	k_thread_stack_t *stack;
	size_t size;
	void (*entry)(void);
	const char *name;
	int priority;
} threads[] = {
	{&engine_thread, engine_stack, K_THREAD_STACK_SIZEOF(engine_stack), sota_rs_engine, "engine",
	 CONFIG_SOTA_ENGINE_PRIORITY},
	{&cloud_thread, cloud_stack, K_THREAD_STACK_SIZEOF(cloud_stack), sota_rs_cloud, "cloud",
	 CONFIG_SOTA_CLOUD_PRIORITY},
#ifdef CONFIG_SOTA_BRIDGE
	/* The last: it is left out where there is no UART. */
	{&bridge_thread, bridge_stack, K_THREAD_STACK_SIZEOF(bridge_stack), sota_rs_bridge, "bridge",
	 CONFIG_SOTA_BRIDGE_PRIORITY},
#endif
};

int sota_start(void)
{
	size_t count = ARRAY_SIZE(threads);

	if (atomic_set(&started, 1)) {
		return 0;
	}
	sota_rs_init();
	sota_settings_start();
	if (sota_net_start() < 0) {
		LOG_ERR("no eventfd: raise CONFIG_ZVFS_OPEN_MAX, CONFIG_ZVFS_EVENTFD_MAX");
	}
#ifdef CONFIG_SOTA_UART
	if (sota_uart_start() != 0) {
		LOG_ERR("no bridge: sota,mcu-uart is not ready or has no interrupts");
		if (!IS_ENABLED(CONFIG_SOTA_SIDES)) {
			count--;
		}
	}
#endif
	for (size_t i = 0; i < count; i++) {
		k_tid_t id = k_thread_create(threads[i].thread, threads[i].stack, threads[i].size, enter,
					     (void *)threads[i].entry, NULL, NULL, threads[i].priority, 0, K_NO_WAIT);

		k_thread_name_set(id, threads[i].name);
	}
	return 0;
}

#ifdef CONFIG_SOTA_AUTOSTART
/* After the drivers and the network stack, before main(). */
SYS_INIT(sota_start, APPLICATION, 99);
#endif

void sota_shim_wake(uint8_t who)
{
	switch (who) {
	case SOTA_CLOUD:
		sota_net_wake();
		break;
	case SOTA_ENGINE:
		k_sem_give(&wake_engine);
		break;
	case SOTA_BRIDGE:
		k_sem_give(&wake_bridge);
		break;
	case SOTA_DISPATCHER:
		sota_dispatch();
		break;
	default:
		break;
	}
}

void sota_shim_sleep(uint8_t who, int32_t ms)
{
	(void)k_sem_take(who == SOTA_ENGINE ? &wake_engine : &wake_bridge, K_MSEC(ms));
}

/* One asker at a time; k_mutex lends its priority to the one who has it. */
bool sota_shim_call_begin(void)
{
	return atomic_get(&started) && !k_is_in_isr() && k_current_get() != &engine_thread &&
	       k_mutex_lock(&call_lock, K_FOREVER) == 0;
}

void sota_shim_call_wait(void)
{
	(void)k_sem_take(&call_answered, K_FOREVER);
}

void sota_shim_call_done(void)
{
	k_sem_give(&call_answered);
}

void sota_shim_call_end(void)
{
	k_mutex_unlock(&call_lock);
}

int64_t sota_shim_uptime_ms(void)
{
	return k_uptime_get();
}

uint32_t sota_shim_random(void)
{
#ifdef CONFIG_CSPRNG_ENABLED
	uint32_t value;

	if (sys_csrand_get(&value, sizeof(value)) == 0) {
		return value;
	}
#endif
	return sys_rand32_get();
}

uint32_t sota_shim_lock(void)
{
	return irq_lock();
}

void sota_shim_unlock(uint32_t key)
{
	irq_unlock(key);
}

void sota_shim_panic(void)
{
	LOG_ERR("the component met a fault of its own code");
	k_panic();
	CODE_UNREACHABLE;
}

#ifdef CONFIG_SOTA_MCU_LINK
/* Numbers as in docs/errors.md, which says what to do. */
void sota_shim_link_fault(uint16_t number, const char *text, uint32_t len)
{
	LOG_WRN("link: error %u %.*s (docs/errors.md)", number, (int)len, text);
}
#endif

/* The component's own lines are warnings; the other levels are for a product in Rust, and only then in the image. */
void sota_shim_warn(const char *text, uint32_t len)
{
	LOG_WRN("%.*s", (int)len, text);
}

void sota_shim_log(uint8_t level, const char *text, uint32_t len)
{
	int n = len;

	switch (level) {
	case 1:
		LOG_ERR("%.*s", n, text);
		break;
	case 2:
		LOG_WRN("%.*s", n, text);
		break;
	case 3:
		LOG_INF("%.*s", n, text);
		break;
	default:
		LOG_DBG("%.*s", n, text);
		break;
	}
}

void sota_shim_reboot(void)
{
	/* What waits for the network and the log goes out first. */
	k_sleep(K_MSEC(500));
#ifdef CONFIG_SOTA_NATIVE_SIM_OPTIONS
	if (sota_native_ends_on_restart()) {
		posix_exit(0);
	}
#endif
#ifdef CONFIG_REBOOT
	sys_reboot(SYS_REBOOT_COLD);
#else
	LOG_WRN("no restart without CONFIG_REBOOT");
#endif
}

int32_t sota_shim_battery(void)
{
	return sota_battery_percent();
}

uint32_t sota_shim_cell(void)
{
	return sota_cell_id();
}

int32_t sota_shim_rsrp(void)
{
	return sota_rsrp_dbm();
}

/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * Battery and signal from Zephyr's drivers. They wait for buses and modems, so they are asked every
 * CONFIG_SOTA_READINGS_PERIOD_S on the dispatcher, and the threads get what was read last.
 */
#include <zephyr/drivers/cellular.h>
#include <zephyr/init.h>
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>
#ifdef CONFIG_FUEL_GAUGE
#include <zephyr/drivers/fuel_gauge.h>
#endif
#ifdef CONFIG_SENSOR
#include <zephyr/drivers/sensor.h>
#endif

#include "readings.h"
#include "shim.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

static atomic_t battery = ATOMIC_INIT(-1);
static atomic_t rsrp;

int sota_readings_battery(void)
{
	return atomic_get(&battery);
}

int sota_readings_rsrp(void)
{
	return atomic_get(&rsrp);
}

#if DT_HAS_CHOSEN(sota_battery)
static const struct device *const gauge = DEVICE_DT_GET(DT_CHOSEN(sota_battery));

static int read_battery(void)
{
#ifdef CONFIG_FUEL_GAUGE
	if (DEVICE_API_IS(fuel_gauge, gauge)) {
		union fuel_gauge_prop_val value;
		int error = fuel_gauge_get_prop(gauge, FUEL_GAUGE_RELATIVE_STATE_OF_CHARGE, &value);

		return error == 0 ? value.relative_state_of_charge : -1;
	}
#endif
#ifdef CONFIG_SENSOR
	if (DEVICE_API_IS(sensor, gauge)) {
		struct sensor_value value;

		if (sensor_sample_fetch(gauge) == 0 &&
		    sensor_channel_get(gauge, SENSOR_CHAN_GAUGE_STATE_OF_CHARGE, &value) == 0) {
			return value.val1;
		}
	}
#endif
	return -1;
}
#endif

#if DT_HAS_CHOSEN(sota_modem)
static const struct device *const modem = DEVICE_DT_GET(DT_CHOSEN(sota_modem));

static int read_rsrp(void)
{
	int16_t dbm;

	return cellular_get_signal(modem, CELLULAR_SIGNAL_RSRP, &dbm) == 0 ? dbm : 0;
}
#endif

static void read_all(struct k_work *work)
{
#if DT_HAS_CHOSEN(sota_battery)
	atomic_set(&battery, device_is_ready(gauge) ? read_battery() : -1);
#endif
#if DT_HAS_CHOSEN(sota_modem)
	atomic_set(&rsrp, device_is_ready(modem) ? read_rsrp() : 0);
#endif
	LOG_DBG("battery %d %%, RSRP %d dBm", sota_readings_battery(), sota_readings_rsrp());
	(void)k_work_schedule_for_queue(&sota_dispatcher, k_work_delayable_from_work(work),
					K_SECONDS(CONFIG_SOTA_READINGS_PERIOD_S));
}

static int start(void)
{
	static K_WORK_DELAYABLE_DEFINE(readings, read_all);

	(void)k_work_schedule_for_queue(&sota_dispatcher, &readings, K_NO_WAIT);
	return 0;
}

/* Behind the dispatcher. */
SYS_INIT(start, APPLICATION, 99);

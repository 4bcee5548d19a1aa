/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * CONFIG_SOTA_READINGS: battery from a sensor, or with CONFIG_FUEL_GAUGE from a fuel gauge, RSRP from a modem.
 */
#include <zephyr/drivers/cellular.h>
#ifdef CONFIG_FUEL_GAUGE
#include <zephyr/drivers/fuel_gauge.h>
#else
#include <zephyr/drivers/sensor.h>
#endif
#include <zephyr/kernel.h>
#include <zephyr/ztest.h>

#include <sota/sota.h>

/* Negative and 0: the driver fails. */
static atomic_t charge = ATOMIC_INIT(77);
static atomic_t rsrp = ATOMIC_INIT(-95);
static atomic_t fetched;

/* A bus that waits: whoever asks the component must not notice. */
static int fetch(void)
{
	atomic_inc(&fetched);
	k_sleep(K_MSEC(400));
	return atomic_get(&charge) < 0 ? -EIO : 0;
}

#ifdef CONFIG_FUEL_GAUGE
static int gauge_property(const struct device *dev, fuel_gauge_prop_t property, union fuel_gauge_prop_val *value)
{
	ARG_UNUSED(dev);
	if (property != FUEL_GAUGE_RELATIVE_STATE_OF_CHARGE) {
		return -ENOTSUP;
	}
	value->relative_state_of_charge = atomic_get(&charge);
	return fetch();
}

static DEVICE_API(fuel_gauge, gauge_api) = {.get_property = gauge_property};
#else
static int gauge_fetch(const struct device *dev, enum sensor_channel channel)
{
	ARG_UNUSED(dev);
	ARG_UNUSED(channel);
	return fetch();
}

static int gauge_get(const struct device *dev, enum sensor_channel channel, struct sensor_value *value)
{
	ARG_UNUSED(dev);
	if (channel != SENSOR_CHAN_GAUGE_STATE_OF_CHARGE) {
		return -ENOTSUP;
	}
	*value = (struct sensor_value){.val1 = atomic_get(&charge)};
	return 0;
}

static DEVICE_API(sensor, gauge_api) = {.sample_fetch = gauge_fetch, .channel_get = gauge_get};
#endif
DEVICE_DT_DEFINE(DT_NODELABEL(gauge), NULL, NULL, NULL, NULL, POST_KERNEL, 90, &gauge_api);

static int modem_signal(const struct device *dev, const enum cellular_signal_type type, int16_t *value)
{
	ARG_UNUSED(dev);
	if (type != CELLULAR_SIGNAL_RSRP || atomic_get(&rsrp) == 0) {
		return -ENODATA;
	}
	*value = atomic_get(&rsrp);
	return 0;
}

static DEVICE_API(cellular, modem_api) = {.get_signal = modem_signal};
DEVICE_DT_DEFINE(DT_NODELABEL(modem), NULL, NULL, NULL, NULL, POST_KERNEL, 90, &modem_api);

static void next_reading(void)
{
	k_sleep(K_MSEC(CONFIG_SOTA_READINGS_PERIOD_S * 1000 + 1000));
}

ZTEST_SUITE(sota_readings, NULL, NULL, NULL, NULL, NULL);

ZTEST(sota_readings, test_the_drivers_values_come_through_and_go)
{
	next_reading();
	zassert_equal(sota_battery_percent(), 77);
	zassert_equal(sota_rsrp_dbm(), -95);
	atomic_set(&charge, 12);
	atomic_set(&rsrp, -120);
	next_reading();
	zassert_equal(sota_battery_percent(), 12);
	zassert_equal(sota_rsrp_dbm(), -120);
	/* What cannot be read any more is not known: an old value would let a plan through. */
	atomic_set(&charge, -1);
	atomic_set(&rsrp, 0);
	next_reading();
	zassert_equal(sota_battery_percent(), -1);
	zassert_equal(sota_rsrp_dbm(), 0);
}

ZTEST(sota_readings, test_asking_does_not_wait_for_the_bus)
{
	int before = atomic_get(&fetched);
	int64_t began = k_uptime_get();

	for (int i = 0; i < 1000; i++) {
		(void)sota_battery_percent();
		(void)sota_rsrp_dbm();
	}
	zassert_true(k_uptime_get() - began < 100);
	zassert_true(atomic_get(&fetched) - before <= 1);
}

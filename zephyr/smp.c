/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The MCUs with MCUmgr of the devicetree (sota,smp): what is configured, and their UARTs as the devicetree has them.
 */
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>

#include "shim.h"
#include "uart.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

/* Emulated ones have no speed. */
#define SPEED(node) DT_PROP_OR(DT_PHANDLE(node, uart), current_speed, 0)

#define SMP(node, side)                                                                                                 \
	{                                                                                                               \
		.component = DT_PROP(node, component),                                                                  \
		.version = DT_PROP_OR(node, version, ""),                                                               \
		.baud = SPEED(node) > 0 ? SPEED(node) : 115200,                                                         \
		.give_up_s = CONFIG_SOTA_SMP_GIVE_UP_S,                                                                 \
		.boot_ms = DT_PROP(node, boot_ms),                                                                      \
		.tries = CONFIG_SOTA_SMP_TRIES,                                                                         \
		.image = DT_PROP(node, image),                                                                          \
		.window = DT_PROP(node, window),                                                                        \
		.trials = DT_PROP(node, trials),                                                                        \
		.upgrade_only = DT_PROP(node, upgrade_only),                                                            \
	},

static const struct sota_smp smps[] = {SOTA_FOREACH_SMP(SMP)};

#define FITS(node, side)                                                                                                \
	BUILD_ASSERT(sizeof(DT_PROP(node, component)) > 1 && sizeof(DT_PROP(node, component)) <= 33,                    \
		     "sota,smp: component has 1 to 32 bytes");                                                          \
	BUILD_ASSERT(sizeof(DT_PROP_OR(node, version, "")) <= 65, "sota,smp: version has at most 64 bytes");            \
	BUILD_ASSERT(DT_PROP(node, image) <= 255, "sota,smp: image is 0 to 255");                                       \
	BUILD_ASSERT(IN_RANGE(DT_PROP(node, trials), 1, 100), "sota,smp: trials is 1 to 100");                          \
	SOTA_SIDE_UART_FITS(node, "sota,smp")
SOTA_FOREACH_SMP(FITS)

const struct sota_smp *sota_shim_smp(uint8_t place)
{
	return place < ARRAY_SIZE(smps) ? &smps[place] : NULL;
}

bool sota_shim_smp_start(uint8_t side)
{
	int error = sota_uart_side_open(side);

	if (error != 0) {
		LOG_ERR("%s is not served: error %u SideUart (docs/errors.md), %d", smps[side - SOTA_STM32S].component,
			SOTA_ERROR_SIDE_UART, error);
	}
	return error == 0;
}

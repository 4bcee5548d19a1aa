/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the back ends at the sides share: their bytes and their lines in the log.
 */
#include <zephyr/logging/log.h>

#include "shim.h"
#include "uart.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

/*
 * Each machine lies on the stack of the thread bridge. By the frames of the code for a Cortex-M33, beside AT commands: 7.0 KB
 * with one STM32, 11.8 KB with one SMP server.
 */
BUILD_ASSERT(IS_ENABLED(CONFIG_ARCH_POSIX) ||
		     CONFIG_SOTA_BRIDGE_STACK_SIZE >= 4608 + 2560 * SOTA_STM32S + 7680 * SOTA_SMPS,
	     "CONFIG_SOTA_BRIDGE_STACK_SIZE: 4608 bytes, 2560 for each node sota,stm32 and 7680 for each node sota,smp");

#define COMPONENT(node, side) DT_PROP(node, component),

static const char *const components[] = {SOTA_FOREACH_SIDE(COMPONENT)};

void sota_shim_side_fault(uint8_t side, const struct sota_side_fault *fault)
{
	LOG_WRN("%s: error %u %.*s (docs/errors.md), command 0x%02x, detail 0x%x%s", components[side], fault->number,
		(int)fault->length, fault->name, fault->command, fault->detail,
		fault->failed ? "; the upgrade ends" : "");
}

void sota_shim_side_started(uint8_t side)
{
	LOG_INF("%s: the new image was verified and runs", components[side]);
}

uint32_t sota_shim_side_read(uint8_t side, uint8_t *to, uint32_t len)
{
	return sota_uart_side_get(side, to, len);
}

uint32_t sota_shim_side_write(uint8_t side, const uint8_t *from, uint32_t len)
{
	return len == 0 ? 0 : sota_uart_side_put(side, from, len);
}

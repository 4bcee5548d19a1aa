/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * Looks at the emulated outputs every millisecond, which is often enough for a reset of 10 ms, and tells the levels.
 */
#include <stdbool.h>
#include <zephyr/drivers/gpio.h>
#include <zephyr/drivers/gpio/gpio_emul.h>
#include <zephyr/kernel.h>

#include <cmdline.h>
#include <posix_native_task.h>

#include "lines.h"

#define MCU DT_NODELABEL(stm32)

static const struct gpio_dt_spec reset = GPIO_DT_SPEC_GET(MCU, reset_gpios);
static const struct gpio_dt_spec boot = GPIO_DT_SPEC_GET(MCU, boot_gpios);
static char *path;

static void add_options(void)
{
	static struct args_struct_t options[] = {
		{.option = "lines", .name = "path", .type = 's', .dest = &path,
		 .descript = "Socket of the simulated chip's reset and boot lines"},
		ARG_TABLE_ENDMARKER,
	};

	native_add_command_line_opts(options);
}

NATIVE_TASK(add_options, PRE_BOOT_1, 10);

int main(void)
{
	/* As the resistors hold them. */
	char before[2] = {'b', 'r'};

	while (path != NULL) {
		char now[2] = {
			gpio_emul_output_get(boot.port, boot.pin) == 1 ? 'B' : 'b',
			gpio_emul_output_get(reset.port, reset.pin) == 0 ? 'R' : 'r',
		};

		if ((now[0] != before[0] || now[1] != before[1]) && lines_send(path, now, 2) == 0) {
			before[0] = now[0];
			before[1] = now[1];
		}
		k_sleep(K_MSEC(1));
	}
	return 0;
}

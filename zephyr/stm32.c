/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The STM32s of the devicetree (sota,stm32): what is configured, their UARTs with even parity, their reset and boot lines.
 */
#include <errno.h>
#include <zephyr/drivers/gpio.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>

#include "shim.h"
#include "uart.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

/* Emulated ones have no speed. */
#define SPEED(node) DT_PROP_OR(DT_PHANDLE(node, uart), current_speed, 0)

#define STM32(node, place)                                                                                              \
	{                                                                                                               \
		.component = DT_PROP(node, component),                                                                  \
		.version = DT_PROP(node, version),                                                                      \
		.chip = DT_PROP(node, chip),                                                                            \
		.baud = SPEED(node) > 0 ? SPEED(node) : 115200,                                                         \
		.give_up_s = CONFIG_SOTA_STM32_GIVE_UP_S,                                                               \
		.tries = CONFIG_SOTA_STM32_TRIES,                                                                       \
		.mass_erase = DT_ENUM_HAS_VALUE(node, erase, mass),                                                     \
		.go = DT_ENUM_HAS_VALUE(node, start, go),                                                               \
		.pieces = DT_PROP(node, allow_pieces),                                                                  \
	},

static const struct sota_stm32 stm32s[] = {SOTA_FOREACH_STM32(STM32)};

struct wiring {
	const struct device *uart;
	struct gpio_dt_spec reset;
	struct gpio_dt_spec boot;
	/* Nothing is to be set: the devicetree says even parity, or the UART is an emulated one, which has none. */
	bool even;
};

#define WIRING(node, place)                                                                                             \
	{                                                                                                               \
		.uart = DEVICE_DT_GET(DT_PHANDLE(node, uart)),                                                          \
		.reset = GPIO_DT_SPEC_GET(node, reset_gpios),                                                           \
		.boot = GPIO_DT_SPEC_GET(node, boot_gpios),                                                             \
		.even = DT_ENUM_HAS_VALUE(DT_PHANDLE(node, uart), parity, even) ||                                      \
			DT_NODE_HAS_COMPAT(DT_PHANDLE(node, uart), zephyr_native_pty_uart),                             \
	},

static const struct wiring wirings[] = {SOTA_FOREACH_STM32(WIRING)};

#define FITS(node, place)                                                                                               \
	BUILD_ASSERT(sizeof(DT_PROP(node, component)) > 1 && sizeof(DT_PROP(node, component)) <= 33,                    \
		     "sota,stm32: component has 1 to 32 bytes");                                                        \
	BUILD_ASSERT(sizeof(DT_PROP(node, version)) > 1 && sizeof(DT_PROP(node, version)) <= 65,                        \
		     "sota,stm32: version has 1 to 64 bytes");                                                          \
	SOTA_SIDE_UART_FITS(node, "sota,stm32")
SOTA_FOREACH_STM32(FITS)

const struct sota_stm32 *sota_shim_stm32(uint8_t place)
{
	return place < ARRAY_SIZE(stm32s) ? &stm32s[place] : NULL;
}

static int even_parity(const struct wiring *wiring)
{
#ifdef CONFIG_UART_USE_RUNTIME_CONFIGURE
	struct uart_config config;
	int error;
#endif

	if (wiring->even) {
		return 0;
	}
#ifdef CONFIG_UART_USE_RUNTIME_CONFIGURE
	error = uart_config_get(wiring->uart, &config);
	if (error != 0) {
		return error;
	}
	config.data_bits = UART_CFG_DATA_BITS_8;
	config.parity = UART_CFG_PARITY_EVEN;
	config.stop_bits = UART_CFG_STOP_BITS_1;
	config.flow_ctrl = UART_CFG_FLOW_CTRL_NONE;
	return uart_configure(wiring->uart, &config);
#else
	return -ENOTSUP;
#endif
}

bool sota_shim_stm32_start(uint8_t place)
{
	const struct wiring *wiring = &wirings[place];
	int error = -ENODEV;

	/* As the resistors at the chip hold them: a running MCU goes on. */
	if (!gpio_is_ready_dt(&wiring->boot) || !gpio_is_ready_dt(&wiring->reset)) {
		goto no_pins;
	}
	error = gpio_pin_configure_dt(&wiring->boot, GPIO_OUTPUT_INACTIVE);
	if (error == 0) {
		error = gpio_pin_configure_dt(&wiring->reset, GPIO_OUTPUT_INACTIVE);
	}
	if (error != 0) {
		goto no_pins;
	}
	error = device_is_ready(wiring->uart) ? even_parity(wiring) : -ENODEV;
	if (error == 0) {
		error = sota_uart_side_open(place);
	}
	if (error != 0) {
		LOG_ERR("%s is not served: error %u SideUart (docs/errors.md), %d", stm32s[place].component,
			SOTA_ERROR_SIDE_UART, error);
	}
	return error == 0;

no_pins:
	LOG_ERR("%s is not served: error %u SidePins (docs/errors.md), %d", stm32s[place].component, SOTA_ERROR_SIDE_PINS,
		error);
	return false;
}

void sota_shim_stm32_lines(uint8_t place, bool boot0, bool reset)
{
	int error = gpio_pin_set_dt(&wirings[place].boot, boot0);
	int other = gpio_pin_set_dt(&wirings[place].reset, reset);

	if (error != 0 || other != 0) {
		LOG_ERR("%s: error %u SidePins (docs/errors.md), %d %d", stm32s[place].component, SOTA_ERROR_SIDE_PINS,
			error, other);
	}
	sota_uart_side_drop(place);
}

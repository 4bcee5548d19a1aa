/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The UART to the MCU by the interrupt-driven API, between two ring buffers.
 */
#include <string.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>
#include <zephyr/sys/ring_buffer.h>

#include "shim.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

RING_BUF_DECLARE(rx, CONFIG_SOTA_UART_RX_BYTES);
RING_BUF_DECLARE(tx, CONFIG_SOTA_UART_TX_BYTES);
static const struct device *const uart = DEVICE_DT_GET(DT_CHOSEN(sota_mcu_uart));
/* The buffer was full: the line waits (with flow control), until some of it was read. */
static bool paused;
/* There is something to send, or it was not yet seen that there is nothing more. */
static bool sending;

static void receive(void)
{
	uint8_t *to;
	uint32_t room = ring_buf_put_claim(&rx, &to, CONFIG_SOTA_UART_RX_BYTES);
	int n = 0;

	if (room > 0) {
		n = uart_fifo_read(uart, to, room);
	} else {
		paused = true;
		uart_irq_rx_disable(uart);
	}
	(void)ring_buf_put_finish(&rx, MAX(n, 0));
}

static void transmit(void)
{
	uint8_t *from;
	uint32_t waiting = ring_buf_get_claim(&tx, &from, CONFIG_SOTA_UART_TX_BYTES);
	int n = waiting > 0 ? uart_fifo_fill(uart, from, waiting) : 0;

	(void)ring_buf_get_finish(&tx, MAX(n, 0));
	if (waiting == 0) {
		sending = false;
		uart_irq_tx_disable(uart);
	}
}

static void on_interrupt(const struct device *device, void *user)
{
	ARG_UNUSED(device);
	ARG_UNUSED(user);
	/* Some drivers call an interrupt pending, or a direction ready, that is switched off: only what is wanted counts. */
	while (uart_irq_update(uart) > 0 && uart_irq_is_pending(uart) > 0) {
		bool in = !paused && uart_irq_rx_ready(uart) > 0;
		bool out = sending && uart_irq_tx_ready(uart) > 0;

		if (in) {
			receive();
		}
		if (out) {
			transmit();
		}
		if (!in && !out) {
			break;
		}
	}
	sota_shim_wake(SOTA_BRIDGE);
}

int sota_uart_start(void)
{
	if (!device_is_ready(uart) || uart_irq_callback_user_data_set(uart, on_interrupt, NULL) != 0) {
		return -ENODEV;
	}
	uart_irq_rx_enable(uart);
	return 0;
}

#ifdef CONFIG_SOTA_SHELL
/* The shell's line takes the place of the MCU's, and the answer to it that of the UART's output. */
static K_MUTEX_DEFINE(tap_lock);
static K_SEM_DEFINE(tap_wrote, 0, 1);
static struct k_spinlock tap_state;
static const char *tap_line; /* what is left of it */
static bool tap_on;
static char tap_out[128];
static size_t tap_length;
/* The last byte given to the component ended a line. */
static bool at_line_end = true;

static bool tap_read(uint8_t *to, uint32_t *len)
{
	k_spinlock_key_t key = k_spin_lock(&tap_state);
	bool mine = tap_on;
	size_t n = 0;

	if (mine) {
		n = tap_line == NULL ? 0 : MIN(strlen(tap_line), *len);
		memcpy(to, tap_line, n);
		tap_line = n == 0 ? NULL : tap_line + n;
		*len = n;
	}
	k_spin_unlock(&tap_state, key);
	return mine;
}

static bool tap_write(const uint8_t *from, uint32_t *len)
{
	k_spinlock_key_t key = k_spin_lock(&tap_state);
	bool mine = tap_on;

	if (mine) {
		*len = MIN(*len, sizeof(tap_out) - tap_length);
		memcpy(tap_out + tap_length, from, *len);
		tap_length += *len;
	}
	k_spin_unlock(&tap_state, key);
	if (mine) {
		k_sem_give(&tap_wrote);
	}
	return mine;
}

static bool tap_begin(const char *line)
{
	k_spinlock_key_t key = k_spin_lock(&tap_state);
	bool free = at_line_end && ring_buf_is_empty(&rx);

	if (free) {
		tap_on = true;
		tap_line = line;
		tap_length = 0;
	}
	k_spin_unlock(&tap_state, key);
	return free;
}

/* Takes what was written; whether the answer is complete with it. */
static bool tap_take(char last[8], void (*take)(const char *text, size_t length, void *user), void *user)
{
	char text[sizeof(tap_out)];
	k_spinlock_key_t key = k_spin_lock(&tap_state);
	size_t n = tap_length;

	memcpy(text, tap_out, n);
	tap_length = 0;
	k_spin_unlock(&tap_state, key);
	if (n == 0) {
		return false;
	}
	sota_shim_wake(SOTA_BRIDGE);
	take(text, n, user);
	for (size_t i = 0; i < n; i++) {
		memmove(last, last + 1, 7);
		last[7] = text[i];
	}
	return memcmp(last + 2, "\r\nOK\r\n", 6) == 0 || memcmp(last, "ERROR\r\n", 7) == 0 ||
	       memcmp(last + 1, "ERROR\r\n", 7) == 0;
}

int sota_uart_at(const char *line, void (*take)(const char *text, size_t length, void *user), void *user)
{
	k_timepoint_t end = sys_timepoint_calc(K_SECONDS(2));
	char last[8] = {0};
	bool done = false;

	k_mutex_lock(&tap_lock, K_FOREVER);
	if (!tap_begin(line)) {
		k_mutex_unlock(&tap_lock);
		return -EBUSY;
	}
	sota_shim_wake(SOTA_BRIDGE);
	while (!done && k_sem_take(&tap_wrote, sys_timepoint_timeout(end)) == 0) {
		done = tap_take(last, take, user);
	}
	tap_on = false;
	sota_shim_wake(SOTA_BRIDGE);
	k_mutex_unlock(&tap_lock);
	return done ? 0 : -ETIMEDOUT;
}
#endif

uint32_t sota_shim_uart_read(uint8_t *to, uint32_t len)
{
#ifdef CONFIG_SOTA_SHELL
	if (tap_read(to, &len)) {
		return len;
	}
#endif
	int errors = uart_err_check(uart);
	unsigned int key;

	if (errors > 0) {
		LOG_WRN("UART: errors 0x%x (1 overrun, 2 parity, 4 framing)", errors);
	}
	key = irq_lock();
	len = ring_buf_get(&rx, to, len);
	if (paused && len > 0) {
		paused = false;
		uart_irq_rx_enable(uart);
	}
	irq_unlock(key);
#ifdef CONFIG_SOTA_SHELL
	if (len > 0) {
		at_line_end = to[len - 1] == '\r' || to[len - 1] == '\n';
	}
#endif
	return len;
}

uint32_t sota_shim_uart_write(const uint8_t *from, uint32_t len)
{
	unsigned int key;

	if (len == 0) {
		return 0;
	}
#ifdef CONFIG_SOTA_SHELL
	if (tap_write(from, &len)) {
		return len;
	}
#endif
	key = irq_lock();
	len = ring_buf_put(&tx, from, len);
	sending = sending || len > 0;
	irq_unlock(key);
	if (len > 0) {
		uart_irq_tx_enable(uart);
	}
	return len;
}

#ifdef CONFIG_SOTA_MCU_LINK
/* What the devicetree says; a UART without a speed (an emulated one) is paced by nobody. */
#define SPEED DT_PROP_OR(DT_CHOSEN(sota_mcu_uart), current_speed, 115200)

uint32_t sota_shim_uart_speed(void)
{
	return SPEED;
}

uint32_t sota_shim_link_baud(void)
{
	return CONFIG_SOTA_LINK_BAUD;
}

bool sota_shim_uart_is_idle(void)
{
	return !sending;
}

void sota_shim_uart_set_speed(uint32_t baud)
{
#ifdef CONFIG_UART_USE_RUNTIME_CONFIGURE
	struct uart_config config;
	int error;

	/* The driver's last byte may still be in the shift register: two bytes' time. */
	k_sleep(K_USEC(20 * USEC_PER_SEC / SPEED));
	error = uart_config_get(uart, &config);
	if (error == 0) {
		config.baudrate = baud;
		error = uart_configure(uart, &config);
	}
	if (error != 0) {
		LOG_WRN("the UART does not change to %u baud: %d", baud, error);
	}
#else
	ARG_UNUSED(baud);
#endif
}
#endif

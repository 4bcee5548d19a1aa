/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The UARTs to the MCUs by the interrupt-driven API, each between two ring buffers. First the one that the devicetree
 * names as sota,mcu-uart, if there is one, then those of the back ends at the sides (side.c). Arrays, and places that are
 * constants where there is one UART only: then they cost nothing.
 */
#include <string.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>
#include <zephyr/sys/ring_buffer.h>

#include "shim.h"
#include "uart.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

#ifdef CONFIG_SOTA_UART
#define OF_MAIN(x) x,
static uint8_t __noinit rx_main[CONFIG_SOTA_UART_RX_BYTES];
static uint8_t __noinit tx_main[CONFIG_SOTA_UART_TX_BYTES];
#else
#define OF_MAIN(x)
#endif

#if SOTA_SIDES > 0
/*
 * No flow control: nothing may be lost. A ROM loader's longest answer and command have 257 bytes; an SMP server may send
 * some answers of a hundred bytes at once.
 */
#define SIDE_BYTES (SOTA_SMPS > 0 ? 512 : 272)
static uint8_t __noinit rx_side[SOTA_SIDES][SIDE_BYTES];
static uint8_t __noinit tx_side[SOTA_SIDES][SIDE_BYTES];
#endif

#define SIDE_DEVICE(node, place) DEVICE_DT_GET(DT_PHANDLE(node, uart)),
#define SIDE_RX(node, place)     RING_BUF_INIT(rx_side[place], SIDE_BYTES),
#define SIDE_TX(node, place)     RING_BUF_INIT(tx_side[place], SIDE_BYTES),

#define UARTS (SOTA_MAIN_UARTS + SOTA_SIDES)

static const struct device *const devices[UARTS] = {
	OF_MAIN(DEVICE_DT_GET(DT_CHOSEN(sota_mcu_uart))) SOTA_FOREACH_SIDE(SIDE_DEVICE)};
static struct ring_buf rx[UARTS] = {OF_MAIN(RING_BUF_INIT(rx_main, sizeof(rx_main))) SOTA_FOREACH_SIDE(SIDE_RX)};
static struct ring_buf tx[UARTS] = {OF_MAIN(RING_BUF_INIT(tx_main, sizeof(tx_main))) SOTA_FOREACH_SIDE(SIDE_TX)};
/* The buffer was full: the line waits (with flow control), until some of it was read. */
static bool paused[UARTS];
/* There is something to send, or it was not yet seen that there is nothing more. */
static bool sending[UARTS];

static void receive(int u)
{
	uint8_t *to;
	uint32_t room = ring_buf_put_claim(&rx[u], &to, UINT32_MAX);
	int n = 0;

	if (room > 0) {
		n = uart_fifo_read(devices[u], to, room);
	} else {
		paused[u] = true;
		uart_irq_rx_disable(devices[u]);
	}
	(void)ring_buf_put_finish(&rx[u], MAX(n, 0));
}

static void transmit(int u)
{
	uint8_t *from;
	uint32_t waiting = ring_buf_get_claim(&tx[u], &from, UINT32_MAX);
	int n = waiting > 0 ? uart_fifo_fill(devices[u], from, waiting) : 0;

	(void)ring_buf_get_finish(&tx[u], MAX(n, 0));
	if (waiting == 0) {
		sending[u] = false;
		uart_irq_tx_disable(devices[u]);
	}
}

static void on_interrupt(const struct device *device, void *user)
{
	int u = UARTS > 1 ? (int)(intptr_t)user : 0;

	ARG_UNUSED(device);
	/* Some drivers call an interrupt pending, or a direction ready, that is switched off: only what is wanted counts. */
	while (uart_irq_update(devices[u]) > 0 && uart_irq_is_pending(devices[u]) > 0) {
		bool in = !paused[u] && uart_irq_rx_ready(devices[u]) > 0;
		bool out = sending[u] && uart_irq_tx_ready(devices[u]) > 0;

		if (in) {
			receive(u);
		}
		if (out) {
			transmit(u);
		}
		if (!in && !out) {
			break;
		}
	}
	sota_shim_wake(SOTA_BRIDGE);
}

static inline int open_uart(int u)
{
	void *user = UARTS > 1 ? (void *)(intptr_t)u : NULL;

	if (!device_is_ready(devices[u]) || uart_irq_callback_user_data_set(devices[u], on_interrupt, user) != 0) {
		return -ENODEV;
	}
	uart_irq_rx_enable(devices[u]);
	return 0;
}

static inline uint32_t get(int u, uint8_t *to, uint32_t len)
{
	int errors = uart_err_check(devices[u]);
	unsigned int key;

	if (errors > 0) {
		LOG_WRN("UART: errors 0x%x (1 overrun, 2 parity, 4 framing)", errors);
	}
	key = irq_lock();
	len = ring_buf_get(&rx[u], to, len);
	if (paused[u] && len > 0) {
		paused[u] = false;
		uart_irq_rx_enable(devices[u]);
	}
	irq_unlock(key);
	return len;
}

static inline uint32_t put(int u, const uint8_t *from, uint32_t len)
{
	unsigned int key = irq_lock();

	len = ring_buf_put(&tx[u], from, len);
	sending[u] = sending[u] || len > 0;
	irq_unlock(key);
	if (len > 0) {
		uart_irq_tx_enable(devices[u]);
	}
	return len;
}

#if SOTA_SIDES > 0
int sota_uart_side_open(int side)
{
	return open_uart(SOTA_MAIN_UARTS + side);
}

uint32_t sota_uart_side_get(int side, uint8_t *to, uint32_t len)
{
	return get(SOTA_MAIN_UARTS + side, to, len);
}

uint32_t sota_uart_side_put(int side, const uint8_t *from, uint32_t len)
{
	return put(SOTA_MAIN_UARTS + side, from, len);
}

/* What was not sent before a reset is not for the MCU after it. */
void sota_uart_side_drop(int side)
{
	unsigned int key = irq_lock();

	ring_buf_reset(&tx[SOTA_MAIN_UARTS + side]);
	irq_unlock(key);
}
#endif

#ifdef CONFIG_SOTA_UART
#if SOTA_SIDES > 0
/* Where it is not, the back ends at the sides go on, and this one hears and says nothing. */
static bool main_is_open;
#define MAIN_IS_OPEN main_is_open
#else
/* There is no thread otherwise. */
#define MAIN_IS_OPEN true
#endif

int sota_uart_start(void)
{
	int error = open_uart(0);

#if SOTA_SIDES > 0
	main_is_open = error == 0;
#endif
	return error;
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
	bool free = at_line_end && ring_buf_is_empty(&rx[0]);

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
	len = MAIN_IS_OPEN ? get(0, to, len) : 0;
#ifdef CONFIG_SOTA_SHELL
	if (len > 0) {
		at_line_end = to[len - 1] == '\r' || to[len - 1] == '\n';
	}
#endif
	return len;
}

uint32_t sota_shim_uart_write(const uint8_t *from, uint32_t len)
{
	if (len == 0) {
		return 0;
	}
#ifdef CONFIG_SOTA_SHELL
	if (tap_write(from, &len)) {
		return len;
	}
#endif
	return MAIN_IS_OPEN ? put(0, from, len) : len;
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
	return !sending[0];
}

void sota_shim_uart_set_speed(uint32_t baud)
{
#ifdef CONFIG_UART_USE_RUNTIME_CONFIGURE
	struct uart_config config;
	int error;

	/* The driver's last byte may still be in the shift register: two bytes' time. */
	k_sleep(K_USEC(20 * USEC_PER_SEC / SPEED));
	error = uart_config_get(devices[0], &config);
	if (error == 0) {
		config.baudrate = baud;
		error = uart_configure(devices[0], &config);
	}
	if (error != 0) {
		LOG_WRN("the UART does not change to %u baud: %d", baud, error);
	}
#else
	ARG_UNUSED(baud);
#endif
}
#endif
#endif /* CONFIG_SOTA_UART */

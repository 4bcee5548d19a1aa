/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The UART to the MCU by the interrupt-driven API, between two ring buffers.
 */
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>
#include <zephyr/sys/ring_buffer.h>

#include "shim.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

RING_BUF_DECLARE(rx, CONFIG_SOTA_UART_RX_BYTES);
RING_BUF_DECLARE(tx, CONFIG_SOTA_UART_TX_BYTES);
static const struct device *const uart = DEVICE_DT_GET(DT_CHOSEN(sota_mcu_uart));
/* Bytes that came while the buffer was full. */
static atomic_t lost;

static void receive(void)
{
	uint8_t *to;
	uint8_t nowhere[16];
	uint32_t room = ring_buf_put_claim(&rx, &to, CONFIG_SOTA_UART_RX_BYTES);
	int n = uart_fifo_read(uart, room > 0 ? to : nowhere, room > 0 ? room : sizeof(nowhere));

	if (room == 0 && n > 0) {
		atomic_add(&lost, n);
	}
	(void)ring_buf_put_finish(&rx, room > 0 && n > 0 ? n : 0);
}

static void transmit(void)
{
	uint8_t *from;
	uint32_t waiting = ring_buf_get_claim(&tx, &from, CONFIG_SOTA_UART_TX_BYTES);
	int n = waiting > 0 ? uart_fifo_fill(uart, from, waiting) : 0;

	(void)ring_buf_get_finish(&tx, MAX(n, 0));
	if (waiting == 0) {
		uart_irq_tx_disable(uart);
	}
}

static void on_interrupt(const struct device *device, void *user)
{
	ARG_UNUSED(device);
	ARG_UNUSED(user);
	while (uart_irq_update(uart) > 0 && uart_irq_is_pending(uart) > 0) {
		if (uart_irq_rx_ready(uart) > 0) {
			receive();
		}
		if (uart_irq_tx_ready(uart) > 0) {
			transmit();
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

uint32_t sota_shim_uart_read(uint8_t *to, uint32_t len)
{
	atomic_val_t missed = atomic_clear(&lost);
	unsigned int key;

	if (missed > 0) {
		LOG_WRN("UART: %ld bytes lost, raise CONFIG_SOTA_UART_RX_BYTES", (long)missed);
	}
	key = irq_lock();
	len = ring_buf_get(&rx, to, len);
	irq_unlock(key);
	return len;
}

uint32_t sota_shim_uart_write(const uint8_t *from, uint32_t len)
{
	unsigned int key;

	if (len == 0) {
		return 0;
	}
	key = irq_lock();
	len = ring_buf_put(&tx, from, len);
	irq_unlock(key);
	if (len > 0) {
		uart_irq_tx_enable(uart);
	}
	return len;
}

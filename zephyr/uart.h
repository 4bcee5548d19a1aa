/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * Which UARTs there are: the main one, then one of each back end at the side, in the order of SOTA_FOREACH_SIDE.
 */
#ifndef SOTA_UART_H_
#define SOTA_UART_H_

#include <stdint.h>
#include <zephyr/devicetree.h>
#include <zephyr/sys/util.h>

#define SOTA_MAIN_UARTS COND_CODE_1(IS_ENABLED(CONFIG_SOTA_UART), (1), (0))

/* FN(node, side): those of the STM32s, then those of the SMP servers. Sides count from 0. */
#ifdef CONFIG_SOTA_MCU_STM32
#define SOTA_STM32S                DT_NUM_INST_STATUS_OKAY(sota_stm32)
#define SOTA_STM32_SIDE(i, fn)     fn(DT_INST(i, sota_stm32), i)
#define SOTA_FOREACH_STM32(fn)     LISTIFY(SOTA_STM32S, SOTA_STM32_SIDE, (), fn)
#else
#define SOTA_STM32S 0
#define SOTA_FOREACH_STM32(fn)
#endif
#ifdef CONFIG_SOTA_MCU_SMP
#define SOTA_SMPS                  DT_NUM_INST_STATUS_OKAY(sota_smp)
#define SOTA_SMP_SIDE(i, fn)       fn(DT_INST(i, sota_smp), SOTA_STM32S + i)
#define SOTA_FOREACH_SMP(fn)       LISTIFY(SOTA_SMPS, SOTA_SMP_SIDE, (), fn)
#else
#define SOTA_SMPS 0
#define SOTA_FOREACH_SMP(fn)
#endif

#define SOTA_SIDES            (SOTA_STM32S + SOTA_SMPS)
#define SOTA_FOREACH_SIDE(fn) SOTA_FOREACH_STM32(fn) SOTA_FOREACH_SMP(fn)

/* What makes a node's UART unusable, in words. */
#define SOTA_SIDE_UART_FITS(node, kind)                                                                                 \
	BUILD_ASSERT(DT_NODE_HAS_STATUS_OKAY(DT_PHANDLE(node, uart)), kind ": its uart is not enabled");                \
	BUILD_ASSERT(!IS_ENABLED(CONFIG_SOTA_UART) ||                                                                   \
			     !DT_SAME_NODE(DT_PHANDLE(node, uart), DT_CHOSEN(sota_mcu_uart)),                           \
		     kind ": its uart is that of sota,mcu-uart");

/* Of this side. */
int sota_uart_side_open(int side);
uint32_t sota_uart_side_get(int side, uint8_t *to, uint32_t len);
uint32_t sota_uart_side_put(int side, const uint8_t *from, uint32_t len);
void sota_uart_side_drop(int side);

#endif

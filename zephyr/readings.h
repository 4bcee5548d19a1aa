/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef SOTA_READINGS_H_
#define SOTA_READINGS_H_

#include <zephyr/kernel.h>

/* The work queue on which callbacks run. */
extern struct k_work_q sota_dispatcher;

/* With CONFIG_SOTA_READINGS: battery in %, negative: not known. */
int sota_readings_battery(void);
/* RSRP in dBm, 0: not known. */
int sota_readings_rsrp(void);

#endif

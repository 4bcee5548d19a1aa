/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The connection manager's word that the network is up or down.
 */
#include <zephyr/init.h>
#include <zephyr/logging/log.h>
#include <zephyr/net/conn_mgr_monitor.h>
#include <zephyr/net/net_event.h>
#include <zephyr/net/net_mgmt.h>

#include "shim.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

static struct net_mgmt_event_callback listener;

static void on_change(struct net_mgmt_event_callback *unused, uint64_t event, struct net_if *interface)
{
	ARG_UNUSED(unused);
	ARG_UNUSED(interface);
	if (event == NET_EVENT_L4_CONNECTED) {
		LOG_INF("network up");
	} else {
		LOG_INF("network down");
	}
	sota_rs_network(event == NET_EVENT_L4_CONNECTED);
}

static int listen(void)
{
	net_mgmt_init_event_callback(&listener, on_change, NET_EVENT_L4_CONNECTED | NET_EVENT_L4_DISCONNECTED);
	net_mgmt_add_event_callback(&listener);
	/* Up already: say so again. */
	conn_mgr_mon_resend_status();
	return 0;
}

SYS_INIT(listen, APPLICATION, 99);

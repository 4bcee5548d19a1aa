/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * `sota …` in Zephyr's shell.
 */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <zephyr/kernel.h>
#include <zephyr/shell/shell.h>

#include "event_log.h"
#include "shim.h"

static const char *state_name(uint8_t state)
{
	static const char *const names[] = {
		"none", "plan received", "confirmed", "refused", "download starts", "downloading", "download error",
		"?", "downloaded", "updating", "?", "success", "failure",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "?";
}

/* Prints why not; the command's status. */
static int result(const struct shell *sh, int error)
{
	char name[32];

	if (error == 0) {
		shell_print(sh, "OK");
		return 0;
	}
	sota_error_name(error, name, sizeof(name));
	shell_error(sh, "error %d %s", error, name);
	return -EPERM;
}

static int cmd_status(const struct shell *sh, size_t argc, char **argv)
{
	struct sota_status status;
	char name[32] = "none";

	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	if (!sota_get_status(&status)) {
		shell_error(sh, "the component does not run");
		return -EAGAIN;
	}
	if (status.last_error != 0) {
		sota_error_name(status.last_error, name, sizeof(name));
	}
	shell_print(sh, "Center:     %s", status.connected ? "registered" : "not registered");
	shell_print(sh, "upgrade:    %u (%s)", status.state, state_name(status.state));
	shell_print(sh, "package:    %u of %u bytes", status.progress, status.length);
	shell_print(sh, "piece:      %u bytes at %u", status.piece_length, status.piece_start);
	shell_print(sh, "last error: %u %s", status.last_error, name);
	return 0;
}

static int cmd_versions(const struct shell *sh, size_t argc, char **argv)
{
	char component[SOTA_COMPONENT_LEN + 1], version[SOTA_VERSION_LEN + 1];

	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	shell_print(sh, "%s: %s (module)", CONFIG_SOTA_COMPONENT_NAME, CONFIG_SOTA_COMPONENT_VERSION);
	for (uint8_t place = 0; sota_get_mcu_version(place, component, version); place++) {
		shell_print(sh, "%s: %s", component, version);
	}
	return 0;
}

static int cmd_request(const struct shell *sh, size_t argc, char **argv)
{
	return result(sh, sota_rs_request(argc > 1 ? atoi(argv[1]) : 0));
}

static int cmd_confirm(const struct shell *sh, size_t argc, char **argv)
{
	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	return result(sh, sota_action(SOTA_CONFIRM));
}

static int cmd_refuse(const struct shell *sh, size_t argc, char **argv)
{
	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	return result(sh, sota_action(SOTA_REFUSE));
}

static int cmd_cancel(const struct shell *sh, size_t argc, char **argv)
{
	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	return result(sh, sota_cancel());
}

/* What an event means to a person. */
static void print_event(const struct shell *sh, const struct sota_logged *event)
{
	uint32_t s = event->uptime_s;
	char name[32];

	shell_fprintf(sh, SHELL_NORMAL, "%4u:%02u:%02u  ", s / 3600, s / 60 % 60, s % 60);
	if (event->type != SOTA_EVENT_UPGRADE) {
		static const char *const doors[] = {"?", "authentication", "access", "subscription", "?", "?", "logout"};

		shell_print(sh, "%s %s (%u)", doors[event->type < ARRAY_SIZE(doors) ? event->type : 0],
			    event->code == 10200 ? "ok" : "failed", event->code);
		return;
	}
	switch (event->code) {
	case SOTA_EVENT_PLAN:
		shell_print(sh, "a plan waits for confirm or refuse");
		break;
	case SOTA_EVENT_DOWNLOAD_START:
		shell_print(sh, "download starts: %u bytes", event->bytes);
		break;
	case SOTA_EVENT_DOWNLOADING:
		shell_print(sh, "downloading: %u bytes are here", event->bytes);
		break;
	case SOTA_EVENT_DOWNLOADED:
		shell_print(sh, "a piece can be read: %u bytes are here", event->bytes);
		break;
	case SOTA_EVENT_UPDATING:
		shell_print(sh, "the new image is being installed");
		break;
	case SOTA_EVENT_SUCCESS:
		shell_print(sh, "success");
		break;
	case SOTA_EVENT_FAILURE:
		sota_error_name(event->reason, name, sizeof(name));
		shell_print(sh, "failure: %u %s", event->reason, name);
		break;
	default:
		shell_print(sh, "%u,%u", event->type, event->code);
		break;
	}
}

static int cmd_log(const struct shell *sh, size_t argc, char **argv)
{
	struct sota_logged event;
	uint32_t now = k_uptime_seconds();

	ARG_UNUSED(argc);
	ARG_UNUSED(argv);
	if (CONFIG_SOTA_EVENT_LOG == 0) {
		shell_error(sh, "nothing is kept: CONFIG_SOTA_EVENT_LOG");
		return -ENOTSUP;
	}
	for (uint32_t place = 0; sota_event_logged(place, &event); place++) {
		print_event(sh, &event);
	}
	shell_print(sh, "%4u:%02u:%02u  now, since the start", now / 3600, now / 60 % 60, now % 60);
	return 0;
}

static int cmd_connect(const struct shell *sh, size_t argc, char **argv)
{
	ARG_UNUSED(argc);
	return result(sh, sota_connect(atoi(argv[1]) != 0));
}

static int set_text(const struct shell *sh, enum sota_setting key, const char *text)
{
	if (!sota_rs_setting_set(key, (const uint8_t *)text, strlen(text))) {
		shell_error(sh, "too long, or it cannot be kept");
		return -EINVAL;
	}
	shell_print(sh, "OK; counts from the next `sota connect 1` on");
	return 0;
}

static int cmd_server(const struct shell *sh, size_t argc, char **argv)
{
	char text[129];

	if (argc > 1) {
		return set_text(sh, SOTA_SETTING_SERVER, argv[1]);
	}
	(void)sota_rs_setting_text(SOTA_SETTING_SERVER, text, sizeof(text));
	shell_print(sh, "%s", text);
	return 0;
}

static int cmd_endpoint(const struct shell *sh, size_t argc, char **argv)
{
	char product[65], device[65];

	if (argc == 3) {
		int error = set_text(sh, SOTA_SETTING_PRODUCT_KEY, argv[1]);

		return error != 0 ? error : set_text(sh, SOTA_SETTING_DEVICE_KEY, argv[2]);
	}
	(void)sota_rs_setting_text(SOTA_SETTING_PRODUCT_KEY, product, sizeof(product));
	(void)sota_rs_setting_text(SOTA_SETTING_DEVICE_KEY, device, sizeof(device));
	shell_print(sh, "%s:%s", product, device);
	return 0;
}

static void print_answer(const char *text, size_t length, void *user)
{
	shell_fprintf((const struct shell *)user, SHELL_NORMAL, "%.*s", (int)length, text);
}

static int cmd_at(const struct shell *sh, size_t argc, char **argv)
{
	char line[256 + 2];
	int n = snprintf(line, sizeof(line), "%s\r", argv[1]);
	int error;

	ARG_UNUSED(argc);
	if (!IS_ENABLED(CONFIG_SOTA_AT)) {
		return -ENOTSUP;
	}
	if (n >= (int)sizeof(line)) {
		shell_error(sh, "at most 256 bytes");
		return -EINVAL;
	}
	error = sota_uart_at(line, print_answer, (void *)sh);
	if (error != 0) {
		shell_error(sh, "%s", error == -EBUSY ? "the MCU is in the middle of a line; again" : "no answer");
	}
	return error;
}

SHELL_STATIC_SUBCMD_SET_CREATE(
	sub_sota, SHELL_CMD_ARG(status, NULL, "The upgrade at a glance", cmd_status, 1, 0),
	SHELL_CMD_ARG(versions, NULL, "Components and the versions they run", cmd_versions, 1, 0),
	SHELL_CMD_ARG(request, NULL, "Ask the Center for a plan; 1: with SHA-256", cmd_request, 1, 1),
	SHELL_CMD_ARG(confirm, NULL, "Confirm the plan", cmd_confirm, 1, 0),
	SHELL_CMD_ARG(refuse, NULL, "Refuse the plan", cmd_refuse, 1, 0),
	SHELL_CMD_ARG(cancel, NULL, "Give the upgrade up", cmd_cancel, 1, 0),
	SHELL_CMD_ARG(log, NULL, "The last events, with their time", cmd_log, 1, 0),
	SHELL_CMD_ARG(connect, NULL, "1 register with the Center, 0 leave", cmd_connect, 2, 0),
	SHELL_CMD_ARG(server, NULL, "Show or set coap://host[:port]", cmd_server, 1, 1),
	SHELL_CMD_ARG(endpoint, NULL, "Show, or set <product key> <device key>", cmd_endpoint, 1, 2),
	SHELL_COND_CMD_ARG(CONFIG_SOTA_AT, at, NULL, "An AT command: sota at AT+QIOTMCUVER?", cmd_at, 2, SHELL_OPT_ARG_RAW),
	SHELL_SUBCMD_SET_END);
SHELL_CMD_REGISTER(sota, &sub_sota, "Firmware over the air", NULL);

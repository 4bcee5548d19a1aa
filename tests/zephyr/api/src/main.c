/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The C API and QuecThing's, without a Center: arguments, limits, refusals with their numbers, threads.
 */
#include <string.h>
#include <zephyr/kernel.h>
#include <zephyr/ztest.h>

#include <quecthing/ql_api_qthsdk.h>
#include <sota/sota.h>

#define COMPONENT32 "cccccccccccccccccccccccccccccccc"
#define VERSION64 "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"

static void *setup(void)
{
	struct sota_status status;

	/* Before the start every call is refused, and none waits for ever. */
	zassert_false(sota_get_status(&status));
	zassert_equal(sota_action(SOTA_CONFIRM), 203);
	zassert_equal(sota_start(), 0);
	zassert_equal(sota_start(), 0);
	return NULL;
}

static void no_versions(void *unused)
{
	char component[33], version[65];

	ARG_UNUSED(unused);
	while (sota_get_mcu_version(0, component, version)) {
		zassert_equal(sota_set_mcu_version(component, ""), 0);
	}
}

ZTEST_SUITE(sota_api, NULL, setup, no_versions, NULL, NULL);

ZTEST(sota_api, test_versions_at_their_limits)
{
	char component[33], version[65];

	zassert_equal(sota_set_mcu_version(COMPONENT32, VERSION64), 0);
	zassert_true(sota_get_mcu_version(0, component, version));
	zassert_str_equal(component, COMPONENT32);
	zassert_str_equal(version, VERSION64);
	zassert_false(sota_get_mcu_version(1, component, version));
	zassert_equal(sota_set_mcu_version(COMPONENT32 "c", "1"), 205);
	zassert_equal(sota_set_mcu_version("c", VERSION64 "v"), 205);
	zassert_equal(sota_set_mcu_version("", "1"), 205);
	zassert_equal(sota_set_mcu_version(NULL, "1"), 205);
	zassert_equal(sota_set_mcu_version("a:b", "1"), 205);
	zassert_equal(sota_set_mcu_version("a", "1;2"), 205);
}

ZTEST(sota_api, test_refusals_have_numbers)
{
	struct sota_status status;
	uint8_t byte;
	char name[32];

	zassert_equal(sota_action(SOTA_CONFIRM), 203);
	zassert_equal(sota_action(SOTA_INSTALL), 203);
	zassert_equal(sota_read(0, &byte, 1), -203);
	zassert_equal(sota_rewind(0), 203);
	zassert_true(sota_get_status(&status));
	zassert_equal(status.state, SOTA_STATE_NONE);
	zassert_false(status.connected);
	sota_error_name(203, name, sizeof(name));
	zassert_str_equal(name, "AtNotAllowedNow");
	sota_error_name(9999, name, sizeof(name));
	zassert_str_equal(name, "?");
	sota_error_name(203, name, 4);
	zassert_str_equal(name, "?");
}

ZTEST(sota_api, test_quecthing_versions)
{
	char *text;

	zassert_true(Ql_iotInit());
	zassert_true(Ql_iotConfigSetMcuVersion("STM32", "V1_0"));
	zassert_true(Ql_iotConfigSetMcuVersion("STM32", "V1_0"));
	zassert_true(Ql_iotConfigSetMcuVersion("GD32", "7"));
	zassert_equal(Ql_iotConfigGetMcuVersion("STM32", &text), 4);
	zassert_str_equal(text, "V1_0");
	zassert_equal(Ql_iotConfigGetMcuVersion(NULL, &text), strlen("STM32:V1_0;GD32:7"));
	zassert_str_equal(text, "STM32:V1_0;GD32:7");
	zassert_true(Ql_iotConfigSetMcuVersion("STM32", ""));
	zassert_equal(Ql_iotConfigGetMcuVersion("STM32", &text), 0);
	zassert_false(Ql_iotConfigSetMcuVersion("", "1"));
	zassert_false(Ql_iotConfigSetMcuVersion(COMPONENT32 "c", "1"));
}

ZTEST(sota_api, test_quecthing_settings)
{
	QIot_protocolType_t type;
	char *a, *b, *c;

	zassert_true(Ql_iotConfigSetProductinfo("pk", "ps"));
	zassert_true(Ql_iotConfigGetProductinfo(&a, &b, &c));
	zassert_str_equal(a, "pk");
	zassert_str_equal(b, "ps");
	zassert_false(Ql_iotConfigSetProductinfo(VERSION64 "x", "ps"));
	zassert_false(Ql_iotConfigSetProductinfo("", "ps"));
	zassert_true(Ql_iotConfigSetServer(QIOT_PPROTOCOL_LWM2M, "coap://192.0.2.1:5683"));
	zassert_false(Ql_iotConfigSetServer(QIOT_PPROTOCOL_MQTT, "mqtt://192.0.2.1"));
	Ql_iotConfigGetServer(&type, &a);
	zassert_equal(type, QIOT_PPROTOCOL_LWM2M);
	zassert_str_equal(a, "coap://192.0.2.1:5683");
	zassert_true(Ql_iotConfigSetLifetime(864000));
	zassert_equal(Ql_iotConfigGetLifetime(), 864000);
	zassert_false(Ql_iotConfigSetLifetime(0));
	zassert_false(Ql_iotConfigSetLifetime(864001));
	zassert_equal(Ql_iotConfigGetLifetime(), 864000);
	zassert_true(Ql_iotConfigSetDkDs("dk", "ds"));
	zassert_true(Ql_iotConfigGetDkDs(&a, &b));
	zassert_str_equal(a, "dk");
	zassert_str_equal(b, "ds");
	zassert_false(Ql_iotConfigSetConnmode((QIot_connMode_e)3));
	zassert_true(Ql_iotConfigSetConnmode(QIOT_CONNMODE_IDLE));
	zassert_equal(Ql_iotConfigGetConnmode(), QIOT_CONNMODE_IDLE);
	zassert_true(Ql_iotConfigSetServer(QIOT_PPROTOCOL_LWM2M, ""));
	zassert_false(Ql_iotConfigSetConnmode(QIOT_CONNMODE_REQ), "there is no server");
}

ZTEST(sota_api, test_quecthing_actions_are_refused_without_a_plan)
{
	quint8_t data[4];

	for (int action = 0; action < 256; action++) {
		zassert_false(Ql_iotCmdOtaAction(action), "action %d", action);
	}
	zassert_false(Ql_iotCmdOtaRequest(2));
	zassert_true(Ql_iotCmdOtaRequest(0));
	zassert_true(Ql_iotCmdOtaRequest(1));
	zassert_equal(Ql_iotCmdOtaMcuFWDataRead(0, data, sizeof(data)), 0);
	zassert_equal(Ql_iotCmdOtaMcuFWDataRead(0, NULL, 4), 0);
}

ZTEST(sota_api, test_strings)
{
	char text[] = "\"STM32\",\"\",\"2_0_0\",30,-113,27954";
	char empty[] = ",a,,b,";
	char whole[] = "abc";
	char *words[100];

	zassert_equal(Quos_stringSplit(text, HAL_STRLEN(text), words, ARRAY_SIZE(words), ",", FALSE), 6);
	zassert_str_equal(Quos_stringRemoveMarks(words[0]), "STM32");
	zassert_str_equal(Quos_stringRemoveMarks(words[1]), "");
	zassert_str_equal(words[5], "27954");
	zassert_equal(Quos_stringSplit(empty, HAL_STRLEN(empty), words, ARRAY_SIZE(words), ",", TRUE), 5);
	zassert_str_equal(words[1], "a");
	zassert_str_equal(words[4], "");
	zassert_equal(Quos_stringSplit(whole, HAL_STRLEN(whole), words, ARRAY_SIZE(words), ",", FALSE), 1);
	zassert_equal(Quos_stringSplit(whole, HAL_STRLEN(whole), words, 0, ",", FALSE), 0);
	zassert_equal(Quos_stringSplit(NULL, 0, words, 1, ",", FALSE), 0);
	zassert_equal(HAL_STRLEN(NULL), 0);
	zassert_is_null(Quos_stringRemoveMarks(NULL));
}

/* Any thread may ask, all at once, and each has its own answer within 300 ms. */
static K_THREAD_STACK_ARRAY_DEFINE(stacks, 4, 4096);
static struct k_thread threads[4];
static atomic_t faults;

static void ask(void *number, void *unused1, void *unused2)
{
	ARG_UNUSED(unused1);
	ARG_UNUSED(unused2);
	for (int i = 0; i < 50; i++) {
		int64_t began = k_uptime_get();
		struct sota_status status;
		int done = (intptr_t)number % 2 == 0 ? sota_action(SOTA_CONFIRM) == 203
						     : sota_get_status(&status) && status.state == SOTA_STATE_NONE;

		if (!done || k_uptime_get() - began > 300) {
			atomic_inc(&faults);
		}
	}
}

ZTEST(sota_api, test_four_threads_at_once)
{
	for (int i = 0; i < 4; i++) {
		k_thread_create(&threads[i], stacks[i], K_THREAD_STACK_SIZEOF(stacks[i]), ask, (void *)(intptr_t)i, NULL,
				NULL, 5 + i, 0, K_NO_WAIT);
	}
	for (int i = 0; i < 4; i++) {
		zassert_equal(k_thread_join(&threads[i], K_SECONDS(30)), 0);
	}
	zassert_equal(atomic_get(&faults), 0);
}

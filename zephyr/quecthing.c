/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * include/quecthing: names and results of QuecThing over sota_*.
 */
#include <zephyr/kernel.h>

#include <quecthing/Ql_iotApi.h>

#include "shim.h"

/* QuecThing's getters give pointers that the caller does not free: one text of each kind, until the next call. */
static char product_key[65], product_secret[65], device_key[65], device_secret[65], server[129];
static char versions[512 + 1];

static void (*event_cb)(quint32_t event, qint32_t errcode, const void *value, quint32_t valLen);
static atomic_t work_state = ATOMIC_INIT(QIOT_STATE_UNINITIALIZE);

static void note_state(const struct sota_event *event)
{
	bool good = event->code == QIOT_SUCC;

	switch (event->type) {
	case QIOT_ATEVENT_TYPE_AUTH:
		atomic_set(&work_state, good ? QIOT_STATE_AUTHENTICATED : QIOT_STATE_AUTHENTICATE_FAILED);
		break;
	case QIOT_ATEVENT_TYPE_CONN:
		atomic_set(&work_state, good ? QIOT_STATE_CONNECTED : QIOT_STATE_CONNECT_FAIL);
		break;
	case QIOT_ATEVENT_TYPE_SUBSCRIBE:
		atomic_set(&work_state, good ? QIOT_STATE_SUBSCRIBED : QIOT_STATE_SUBSCRIBE_FAIL);
		break;
	case QIOT_ATEVENT_TYPE_LOGOUT:
		atomic_set(&work_state, good ? QIOT_STATE_DISCONNECTED : QIOT_STATE_DISCONNECT_FAIL);
		break;
	default:
		break;
	}
}

static void on_event(const struct sota_event *event, void *user)
{
	ARG_UNUSED(user);
	note_state(event);
	if (event_cb != NULL) {
		event_cb(event->type, event->code, event->length > 0 ? event->payload : NULL, event->length);
	}
}

qbool Ql_iotInit(void)
{
	(void)sota_start();
	(void)atomic_cas(&work_state, QIOT_STATE_UNINITIALIZE, QIOT_STATE_INITIALIZED);
	sota_set_callback(on_event, NULL);
	return TRUE;
}

void Ql_iotConfigSetEventCB(void (*cb)(quint32_t event, qint32_t errcode, const void *value, quint32_t valLen))
{
	event_cb = cb;
	sota_set_callback(on_event, NULL);
}

static qbool set(enum sota_setting key, const char *value, size_t greatest)
{
	size_t length = HAL_STRLEN(value);

	return length <= greatest && sota_rs_setting_set(key, (const uint8_t *)(value == NULL ? "" : value), length);
}

static char *get(enum sota_setting key, char *to, size_t size)
{
	if (sota_rs_setting_text(key, to, size) < 0) {
		to[0] = '\0';
	}
	return to;
}

qbool Ql_iotConfigSetConnmode(QIot_connMode_e mode)
{
	uint8_t number = mode;

	if ((unsigned int)mode > QIOT_CONNMODE_AUTO || sota_connect(mode != QIOT_CONNMODE_IDLE) != 0) {
		return FALSE;
	}
	return sota_rs_setting_set(SOTA_SETTING_CONNECT, &number, 1);
}

QIot_connMode_e Ql_iotConfigGetConnmode(void)
{
	return (QIot_connMode_e)sota_rs_connect_mode();
}

QIot_state_e Ql_iotGetWorkState(void)
{
	struct sota_status status;

	if (sota_get_status(&status) && status.connected) {
		return QIOT_STATE_SUBSCRIBED;
	}
	return (QIot_state_e)atomic_get(&work_state);
}

qbool Ql_iotConfigSetProductinfo(const char *pk, const char *ps)
{
	return HAL_STRLEN(pk) > 0 && set(SOTA_SETTING_PRODUCT_KEY, pk, 64) && set(SOTA_SETTING_PRODUCT_SECRET, ps, 64);
}

qbool Ql_iotConfigGetProductinfo(char **pk, char **ps, char **ver)
{
	static char version[] = "1.1";

	if (pk != NULL) {
		*pk = get(SOTA_SETTING_PRODUCT_KEY, product_key, sizeof(product_key));
	}
	if (ps != NULL) {
		*ps = get(SOTA_SETTING_PRODUCT_SECRET, product_secret, sizeof(product_secret));
	}
	if (ver != NULL) {
		*ver = version;
	}
	return TRUE;
}

qbool Ql_iotConfigSetServer(QIot_protocolType_t type, const char *url)
{
	return type == QIOT_PPROTOCOL_LWM2M && set(SOTA_SETTING_SERVER, url, 128);
}

void Ql_iotConfigGetServer(QIot_protocolType_t *type, char **url)
{
	if (type != NULL) {
		*type = QIOT_PPROTOCOL_LWM2M;
	}
	if (url != NULL) {
		*url = get(SOTA_SETTING_SERVER, server, sizeof(server));
	}
}

qbool Ql_iotConfigSetLifetime(quint32_t s)
{
	const uint8_t bytes[] = {s, s >> 8, s >> 16, s >> 24};

	return sota_rs_setting_set(SOTA_SETTING_LIFETIME, bytes, sizeof(bytes));
}

quint32_t Ql_iotConfigGetLifetime(void)
{
	return sota_rs_lifetime();
}

qbool Ql_iotConfigSetMcuVersion(const char *compno, const char *version)
{
	return sota_set_mcu_version(compno, version) == 0;
}

/* Appends as much as fits; what the component lets in always does. */
static size_t add(size_t at, const char *text)
{
	size_t length = MIN(strlen(text), sizeof(versions) - 1 - at);

	memcpy(versions + at, text, length);
	versions[at + length] = '\0';
	return at + length;
}

quint32_t Ql_iotConfigGetMcuVersion(const char *compno, char **version)
{
	char name[SOTA_COMPONENT_LEN + 1], its[SOTA_VERSION_LEN + 1];
	size_t at = 0;

	versions[0] = '\0';
	for (uint8_t place = 0; sota_get_mcu_version(place, name, its); place++) {
		if (compno == NULL) {
			at = at > 0 ? add(at, ";") : at;
			at = add(add(add(at, name), ":"), its);
		} else if (strcmp(name, compno) == 0) {
			at = add(at, its);
		}
	}
	if (version != NULL) {
		*version = versions;
	}
	return at;
}

qbool Ql_iotConfigSetAppVersion(const char *version)
{
	return version != NULL && strcmp(version, CONFIG_SOTA_COMPONENT_VERSION) == 0;
}

char *Ql_iotConfigGetSoftVersion(void)
{
	static char version[] = CONFIG_SOTA_COMPONENT_VERSION;

	return version;
}

qbool Ql_iotConfigSetDkDs(const char *dk, const char *ds)
{
	return set(SOTA_SETTING_DEVICE_KEY, dk, 64) && set(SOTA_SETTING_DEVICE_SECRET, ds, 64);
}

qbool Ql_iotConfigGetDkDs(char **dk, char **ds)
{
	if (dk != NULL) {
		*dk = get(SOTA_SETTING_DEVICE_KEY, device_key, sizeof(device_key));
	}
	if (ds != NULL) {
		*ds = get(SOTA_SETTING_DEVICE_SECRET, device_secret, sizeof(device_secret));
	}
	return TRUE;
}

qbool Ql_iotConfigSetPsk(const char *psk)
{
	ARG_UNUSED(psk);
	return FALSE;
}

void Ql_iotConfigGetPsk(char **psk)
{
	static char none[] = "";

	if (psk != NULL) {
		*psk = none;
	}
}

qbool Ql_iotConfigSetPdpContextId(quint8_t id)
{
	return id == 1;
}

quint8_t Ql_iotConfigGetPdpContextId(void)
{
	return 1;
}

qbool Ql_iotCmdOtaRequest(quint32_t mode)
{
	return sota_rs_request(mode) == 0;
}

qbool Ql_iotCmdOtaAction(quint8_t action)
{
	return sota_rs_action(action) == 0;
}

quint32_t Ql_iotCmdOtaMcuFWDataRead(quint32_t startAddr, quint8_t data[], quint32_t maxLen)
{
	int n = data == NULL ? 0 : sota_read(startAddr, data, maxLen);

	return n > 0 ? n : 0;
}

quint32_t Quos_stringSplit(char *src, quint32_t srcLen, char **words, quint32_t max, const char *sep, qbool keepEmpty)
{
	size_t step = HAL_STRLEN(sep);
	quint32_t count = 0;
	char *end;

	if (src == NULL || words == NULL || step == 0) {
		return 0;
	}
	end = memchr(src, '\0', srcLen);
	end = end == NULL ? src + srcLen : end;
	while (count < max) {
		char *next = strstr(src, sep);
		bool last = next == NULL || next >= end;

		if (!last) {
			*next = '\0';
		}
		if (keepEmpty || *src != '\0') {
			words[count++] = src;
		}
		if (last) {
			break;
		}
		src = next + step;
	}
	return count;
}

char *Quos_stringRemoveMarks(char *text)
{
	char *to = text;

	if (text == NULL) {
		return NULL;
	}
	for (const char *from = text; *from != '\0'; from++) {
		if (*from != '"') {
			*to++ = *from;
		}
	}
	*to = '\0';
	return text;
}

/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 */

/**
 * @file
 * @brief The SOTA part of QuecThing's C API: an application written for QuecOpen compiles and runs unchanged.
 *
 * Names, types and results are those that Quectel's public documents give; the code behind them is this project's,
 * which is not affiliated with Quectel. The data-model calls (Ql_iotTtlv*, Ql_iotCmdBus*) are not offered.
 *
 * Every function may be called from any thread and from the event callback, is synchronous and answers within 300 ms.
 * qbool results: TRUE done, FALSE not; sota_last_error() of sota/sota.h says why.
 */
#ifndef QL_IOTAPI_H_
#define QL_IOTAPI_H_

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Not uint32_t: on arm-none-eabi that is unsigned long, and %d would warn. */
typedef unsigned char quint8_t;
typedef char qint8_t;
typedef unsigned short quint16_t;
typedef short qint16_t;
typedef unsigned int quint32_t;
typedef int qint32_t;
typedef unsigned long long quint64_t;
typedef long long qint64_t;
typedef unsigned char qbool;

#ifndef TRUE
#define TRUE 1
#endif
#ifndef FALSE
#define FALSE 0
#endif
/** Length of a string, 0 for NULL. */
#define HAL_STRLEN(s) ((s) == NULL ? 0 : strlen((const char *)(s)))

/** Groups of events. */
enum {
	QIOT_ATEVENT_TYPE_AUTH = 1,
	QIOT_ATEVENT_TYPE_CONN,
	QIOT_ATEVENT_TYPE_SUBSCRIBE,
	QIOT_ATEVENT_TYPE_SEND,
	QIOT_ATEVENT_TYPE_RECV,
	QIOT_ATEVENT_TYPE_LOGOUT,
	QIOT_ATEVENT_TYPE_OTA,
	QIOT_ATEVENT_TYPE_SERVER,
	QIOT_ATEVENT_TYPE_WAKEUP,
};

/** Codes of the other groups. */
enum {
	QIOT_SUCC = 10200,
};

/** Codes of group QIOT_ATEVENT_TYPE_OTA. */
enum {
	QIOT_OTA_TASK_NOTIFY = 10700,
	QIOT_OTA_START,
	QIOT_OTA_DOWNLOADING,
	QIOT_OTA_DOWNLOADED,
	QIOT_OTA_UPDATING,
	QIOT_OTA_UPDATE_OK,
	QIOT_OTA_UPDATE_FAIL,
	QIOT_OTA_UPDATE_FLAG,
};

/** Connection modes. */
typedef enum {
	QIOT_CONNMODE_IDLE = 0, /**< leave */
	QIOT_CONNMODE_REQ,      /**< connect now */
	QIOT_CONNMODE_AUTO,     /**< connect now and after each start */
} QIot_connMode_e;

/** Protocols of Ql_iotConfigSetServer(). */
typedef enum {
	QIOT_PPROTOCOL_LWM2M = 0,
	QIOT_PPROTOCOL_MQTT = 1, /**< not offered: FALSE */
} QIot_protocolType_t;

/** Work states. */
typedef enum {
	QIOT_STATE_UNINITIALIZE = 0,
	QIOT_STATE_INITIALIZED,
	QIOT_STATE_AUTHENTICATING,
	QIOT_STATE_AUTHENTICATED,
	QIOT_STATE_AUTHENTICATE_FAILED,
	QIOT_STATE_CONNECTING,
	QIOT_STATE_CONNECTED,
	QIOT_STATE_CONNECT_FAIL,
	QIOT_STATE_SUBSCRIBED,
	QIOT_STATE_SUBSCRIBE_FAIL,
	QIOT_STATE_DISCONNECTING,
	QIOT_STATE_DISCONNECTED,
	QIOT_STATE_DISCONNECT_FAIL,
} QIot_state_e;

/** Starts the component; TRUE also when it runs already. */
qbool Ql_iotInit(void);

/** Sets the event callback. @p value is text that the callback may cut in place; it lives until the callback returns. */
void Ql_iotConfigSetEventCB(void (*cb)(quint32_t event, qint32_t errcode, const void *value, quint32_t valLen));

/** Connects or leaves. FALSE: an unknown mode, no product key or no server. */
qbool Ql_iotConfigSetConnmode(QIot_connMode_e mode);
QIot_connMode_e Ql_iotConfigGetConnmode(void);
QIot_state_e Ql_iotGetWorkState(void);

/** Product key and secret, at most 64 bytes each. @p ver of the getter: LwM2M's version. */
qbool Ql_iotConfigSetProductinfo(const char *pk, const char *ps);
qbool Ql_iotConfigGetProductinfo(char **pk, char **ps, char **ver);

/** The Center's address, `coap://host[:port]`, at most 128 bytes. */
qbool Ql_iotConfigSetServer(QIot_protocolType_t type, const char *url);
void Ql_iotConfigGetServer(QIot_protocolType_t *type, char **url);

/** Registration lifetime in seconds, 1..864000. */
qbool Ql_iotConfigSetLifetime(quint32_t s);
quint32_t Ql_iotConfigGetLifetime(void);

/**
 * Component (1 to 32 bytes) and version (at most 64) of an MCU, neither with ':' or ';'. An empty version deletes the
 * entry. All components share 512 bytes as `c1:v1;c2:v2`.
 */
qbool Ql_iotConfigSetMcuVersion(const char *compno, const char *version);

/**
 * Version of a component; with NULL the whole list `c1:v1;c2:v2`. Returns its length, 0: none. The text is the
 * component's and stays until the next call.
 */
quint32_t Ql_iotConfigGetMcuVersion(const char *compno, char **version);

/** The module's own version is built in (CONFIG_SOTA_COMPONENT_VERSION): TRUE only for that one. */
qbool Ql_iotConfigSetAppVersion(const char *version);
char *Ql_iotConfigGetSoftVersion(void);

/** Device key and secret, at most 64 bytes each; an empty key is the built-in one. */
qbool Ql_iotConfigSetDkDs(const char *dk, const char *ds);
qbool Ql_iotConfigGetDkDs(char **dk, char **ds);

/** Not offered yet, as long as nothing is encrypted: FALSE, and "". */
qbool Ql_iotConfigSetPsk(const char *psk);
void Ql_iotConfigGetPsk(char **psk);

/** The PDP context is the network stack's: TRUE only for 1, and 1. */
qbool Ql_iotConfigSetPdpContextId(quint8_t id);
quint8_t Ql_iotConfigGetPdpContextId(void);

/** Asks for a plan: 0 without, 1 with SHA-256 beside MD5 and CRC-32. */
qbool Ql_iotCmdOtaRequest(quint32_t mode);

/** 0 refuse, 1 confirm, 2 next piece, 3 the MCU begins to flash. */
qbool Ql_iotCmdOtaAction(quint8_t action);

/** Reads of the present piece; @p startAddr is absolute in the package. Returns the bytes read, 0: failed. */
quint32_t Ql_iotCmdOtaMcuFWDataRead(quint32_t startAddr, quint8_t data[], quint32_t maxLen);

/**
 * Cuts @p src in place at each @p sep and gives the parts; returns their number, at most @p max.
 * @param keepEmpty whether empty parts count
 */
quint32_t Quos_stringSplit(char *src, quint32_t srcLen, char **words, quint32_t max, const char *sep, qbool keepEmpty);

/** Takes the double quotes off, in place. */
char *Quos_stringRemoveMarks(char *text);

#ifdef __cplusplus
}
#endif
#endif

/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 */

/**
 * @file
 * @brief The SOTA component: firmware over the air for the module and the MCU behind it.
 *
 * Every function may be called from any thread and from the callback, not from an interrupt. Each is synchronous
 * and answers within 300 ms. An `int` result is 0 when it was done, else the number of an error: docs/errors.md says
 * what it means and what to do.
 *
 * A product that is content with the AT commands of the MCU needs none of them.
 */
#ifndef SOTA_SOTA_H_
#define SOTA_SOTA_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Greatest component identifier, in bytes without NUL. */
#define SOTA_COMPONENT_LEN 32
/** Greatest version, in bytes without NUL. */
#define SOTA_VERSION_LEN 64

/** Events of an upgrade (`sota_event.code` when `type` is SOTA_EVENT_UPGRADE). */
enum sota_upgrade_event {
	SOTA_EVENT_PLAN = 10700,           /**< a plan waits for sota_action(SOTA_CONFIRM) */
	SOTA_EVENT_DOWNLOAD_START = 10701, /**< length and digests of the package */
	SOTA_EVENT_DOWNLOADING = 10702,    /**< every CONFIG_SOTA_DOWNLOADING_PERIOD_S */
	SOTA_EVENT_DOWNLOADED = 10703,     /**< a piece can be read */
	SOTA_EVENT_UPDATING = 10704,       /**< the MCU flashes, or the module restarts */
	SOTA_EVENT_SUCCESS = 10705,        /**< the target version was reported */
	SOTA_EVENT_FAILURE = 10706,        /**< sota_last_error() says why */
	SOTA_EVENT_ANSWERED = 10707,       /**< a plan of several components was answered */
};

/** Types of events. */
enum sota_event_type {
	SOTA_EVENT_AUTHENTICATION = 1, /**< code 10200 or why not */
	SOTA_EVENT_ACCESS = 2,         /**< 10200: registered with the Center */
	SOTA_EVENT_SUBSCRIPTION = 3,   /**< 10200: the Center can reach the module */
	SOTA_EVENT_LOGOUT = 6,         /**< 10200: left the Center */
	SOTA_EVENT_UPGRADE = 7,        /**< enum sota_upgrade_event */
};

/** What happened. */
struct sota_event {
	uint8_t type;        /**< enum sota_event_type */
	uint16_t code;       /**< enum sota_upgrade_event, or 10200 and its failures */
	const char *payload; /**< text as in docs/at.md, "" when there is none; until the callback returns */
	size_t length;       /**< bytes of the payload without NUL */
};

/** Answers of the host to a plan and to a piece. */
enum sota_action {
	SOTA_REFUSE = 0,     /**< refuse the plan */
	SOTA_CONFIRM = 1,    /**< confirm the plan */
	SOTA_NEXT_PIECE = 2, /**< the present piece is durable in the MCU: fetch the next */
	SOTA_INSTALL = 3,    /**< the MCU begins to flash; only with the last piece there */
};

/** States of an upgrade, as the Center sees them. */
enum sota_state {
	SOTA_STATE_NONE = 0,
	SOTA_STATE_PLAN_RECEIVED = 1,
	SOTA_STATE_CONFIRMED = 2,
	SOTA_STATE_REFUSED = 3,
	SOTA_STATE_DOWNLOAD_STARTS = 4,
	SOTA_STATE_DOWNLOADING = 5,
	SOTA_STATE_DOWNLOAD_ERROR = 6,
	SOTA_STATE_DOWNLOADED = 8,
	SOTA_STATE_UPDATING = 9,
	SOTA_STATE_SUCCESS = 11,
	SOTA_STATE_FAILURE = 12,
};

/** The upgrade at a glance. */
struct sota_status {
	uint8_t state;         /**< enum sota_state */
	bool connected;        /**< registered with the Center */
	uint16_t last_error;   /**< why something failed or waits, 0: nothing was wrong */
	uint32_t progress;     /**< bytes of the package that are durable on the module */
	uint32_t length;       /**< bytes of the package, 0: not known */
	uint32_t piece_start;  /**< first byte of the present piece */
	uint32_t piece_length; /**< bytes of it that can be read, 0: none now */
};

/**
 * @brief Starts the component's threads. With CONFIG_SOTA_AUTOSTART they run already.
 * @return 0 always; calling it again does nothing.
 */
int sota_start(void);

/** Runs on the component's dispatcher, one event at a time; may call every function here. */
typedef void (*sota_callback_t)(const struct sota_event *event, void *user);

/** @brief Sets the application's callback; NULL: none. Events before it are not kept. */
void sota_set_callback(sota_callback_t callback, void *user);

/** @brief Registers with the Center, or leaves it. */
int sota_connect(bool on);

/**
 * @brief Says which version an MCU component runs; an empty version deletes it.
 * @param component 1 to 32 bytes, without ':', ';' and '"'
 * @param version 0 to 64 bytes, without ':', ';' and '"'
 */
int sota_set_mcu_version(const char *component, const char *version);

/**
 * @brief The MCU component in a place of the list.
 * @return false behind the last one.
 */
bool sota_get_mcu_version(uint8_t place, char component[SOTA_COMPONENT_LEN + 1],
			  char version[SOTA_VERSION_LEN + 1]);

/** @brief Asks the Center for a plan. @param sha256 also a SHA-256 is wanted beside MD5 and CRC-32 */
int sota_request(bool sha256);

/** @brief Answers a plan or a piece. */
int sota_action(enum sota_action action);

/**
 * @brief Reads of the present piece.
 * @param offset absolute in the package
 * @return bytes read, fewer than @p length at the end of the piece; negative: the number of an error
 */
int sota_read(uint32_t offset, void *data, size_t length);

/** @brief Fetches again from the piece boundary at or below @p offset (bytes of the package). */
int sota_rewind(uint32_t offset);

/** @brief Raises 10701, and 10703 when a piece is there, once more: for an MCU that has restarted. */
int sota_announce(void);

/**
 * @brief Gives the upgrade up: a plan that waits for its answer is refused, one that was confirmed has failed; the
 * Center hears it with reason 1 (RefusedByHost). Refused with 23 once the image is being written (state 9), with 203
 * when there is no upgrade.
 */
int sota_cancel(void);

/** @brief The upgrade at a glance. @return false when the component does not run. */
bool sota_get_status(struct sota_status *status);

/** @brief Number of the last error, 0: nothing was wrong. */
uint16_t sota_last_error(void);

/** @brief Name of an error as in docs/errors.md, "?" for a number that is none; always ended by NUL. */
void sota_error_name(uint16_t error, char *name, size_t size);

/**
 * @brief Battery in %, 0..100; negative: not known.
 *
 * A product with a battery defines it, or sets CONFIG_SOTA_READINGS: then the default gives what the fuel gauge or sensor
 * that the devicetree names as `sota,battery` said last. Called often, from the threads engine and cloud: must not wait.
 */
int sota_battery_percent(void);

/** @brief RSRP in dBm, below 0; 0 or more: not known. As above; CONFIG_SOTA_READINGS asks the modem `sota,modem`. */
int sota_rsrp_dbm(void);

/**
 * @brief Radio cell that the device is in, 28 bits in LTE; 0: not known, as the default says.
 *
 * The Center can limit how many devices of one cell load at once. Called as the two above.
 */
uint32_t sota_cell_id(void);

#ifdef __cplusplus
}
#endif
#endif

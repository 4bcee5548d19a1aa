/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * A QuecOpen application with QuecThing's calls in the order of its published example: initialize, event callback,
 * connection mode, version, request; in the callback: confirm, read, next piece, install, new version.
 *
 * The "MCU" of this sample is a block of RAM that is flashed by the reading loop. What the loop takes care of:
 * a read may give fewer bytes than asked; 10703 is one piece, whose start and length are absolute and in the event;
 * the MCU's image is checked (CRC-32 of 10701) before action 3 and before the new version is told.
 */
#include <stdlib.h>
#include <string.h>

#include <zephyr/kernel.h>
#include <zephyr/sys/crc.h>

#include <quecthing/Ql_iotApi.h>

#define QIOT_MCU_COMPONENT_NO "STM32"
#define MCU_FLASH_SIZE (512 * 1024)

static quint8_t mcu_flash[MCU_FLASH_SIZE];
static char target_version[64 + 1];
static quint32_t announced_crc32;

static void flash_mcu(quint32_t start, const quint8_t *bytes, quint32_t count)
{
	memcpy(mcu_flash + start, bytes, count);
}

/* Reads a whole piece; TRUE when every byte of it is in the MCU. */
static qbool read_piece(quint32_t start, quint32_t length)
{
	static quint8_t read_buf[1024];
	quint32_t at = start;

	while (at < start + length) {
		quint32_t wanted = MIN(sizeof(read_buf), start + length - at);
		quint32_t count = Ql_iotCmdOtaMcuFWDataRead(at, read_buf, wanted);

		if (count == 0) {
			printf("sota read file error at %u\n", at);
			return FALSE;
		}
		flash_mcu(at, read_buf, count);
		at += count;
	}
	return TRUE;
}

static void on_plan(char **words, quint32_t count)
{
	if (count < 6) {
		return;
	}
	printf("recv ota task: componentNo:%s,sourceVersion:%s,targetVersion:%s,batteryLimit:%s,minSignalIntensity:%s,"
	       "useSpace:%s\n",
	       words[0], words[1], words[2], words[3], words[4], words[5]);
	snprintf(target_version, sizeof(target_version), "%s", Quos_stringRemoveMarks(words[2]));
	if (!Ql_iotCmdOtaAction(1)) {
		printf("not confirmed\n");
	}
}

static void on_piece(char **words, quint32_t count)
{
	quint32_t length, start, piece;

	if (count < 4 || strcmp(QIOT_MCU_COMPONENT_NO, Quos_stringRemoveMarks(words[0])) != 0) {
		return;
	}
	length = strtoul(words[1], NULL, 10);
	start = strtoul(words[2], NULL, 10);
	piece = strtoul(words[3], NULL, 10);
	printf("ota download complete: length:%u,startaddr:%u,piece_length:%u\n", length, start, piece);
	if (length > sizeof(mcu_flash) || start > length || piece > length - start || !read_piece(start, piece)) {
		return;
	}
	if (start + piece < length) {
		Ql_iotCmdOtaAction(2);
		return;
	}
	/* The whole image is in the MCU: what is there is checked, not what was sent. */
	if (crc32_ieee(mcu_flash, length) != announced_crc32) {
		printf("the image in the MCU is not the package\n");
		return;
	}
	if (Ql_iotCmdOtaAction(3)) {
		/* Here a real MCU swaps its image and restarts; then it tells what it runs. */
		Ql_iotConfigSetMcuVersion(QIOT_MCU_COMPONENT_NO, target_version);
	}
}

static void on_ota(qint32_t errcode, void *value, quint32_t length)
{
	char *words[8];
	quint32_t count = Quos_stringSplit((char *)value, length, words, sizeof(words) / sizeof(words[0]), ",", FALSE);

	switch (errcode) {
	case QIOT_OTA_TASK_NOTIFY:
		on_plan(words, count);
		break;
	case QIOT_OTA_START:
		announced_crc32 = count >= 4 ? strtoul(words[3], NULL, 10) : 0;
		break;
	case QIOT_OTA_DOWNLOADED:
		on_piece(words, count);
		break;
	case QIOT_OTA_UPDATE_OK:
		printf("ota update ok: %s\n", target_version);
		break;
	case QIOT_OTA_UPDATE_FAIL:
		printf("ota update failed\n");
		break;
	default:
		break;
	}
}

static void Ql_iotEventCB(quint32_t event, qint32_t errcode, const void *value, quint32_t valLen)
{
	printf("event %u,%d,%s\n", event, errcode, value == NULL ? "" : (const char *)value);
	switch (event) {
	case QIOT_ATEVENT_TYPE_OTA:
		on_ota(errcode, (void *)value, valLen);
		break;
	default:
		break;
	}
}

int main(void)
{
	/* Initialize QuecThing SDK */
	Ql_iotInit();
	/* Register event callback function */
	Ql_iotConfigSetEventCB(Ql_iotEventCB);
	/* Access Developer Center */
	Ql_iotConfigSetConnmode(1);
	/* Configure the external MCU ID number and version number */
	Ql_iotConfigSetMcuVersion(QIOT_MCU_COMPONENT_NO, "V1_0");
	/* OTA Request */
	Ql_iotCmdOtaRequest(0);
	return 0;
}

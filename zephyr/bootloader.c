/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The module's own firmware by MCUboot; staging is MCUboot's secondary slot.
 *
 *  0       header  header + page                        limit        end of the slot
 *  | spare | kept  |  what the component stages           |  trailer  |
 *
 * `header` is where MCUboot looks for an image: 0, or with swap using offset, its default, after a spare sector. What is
 * staged starts one page behind it and ends before MCUboot's trailer; before and behind it the slot is erased when
 * nothing is on trial: whatever an MCU's package is, even an MCUboot image with a trailer of its own, MCUboot finds
 * neither a header nor a trailer. A package of the module itself is moved down by one page when all of it is verified,
 * then marked.
 *
 * | power goes while | MCUboot finds | the module tells |
 * |---|---|---|
 * | staging | no header | goes on with the download |
 * | moving | no trailer: the old image goes on | failure 24 |
 * | after the mark | swaps, the new image on trial | success when it has registered |
 * | on trial | the old image comes back | failure 24 |
 *
 * On trial the slot has the old image, which must come back: nothing is written there.
 */
#include <zephyr/devicetree.h>
#include <zephyr/dfu/mcuboot.h>
#include <zephyr/drivers/flash.h>
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>
#include <zephyr/storage/flash_map.h>
#include <zephyr/sys/byteorder.h>

#include "shim.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

#define SLOT DT_NODELABEL(slot1_partition)

BUILD_ASSERT(DT_SAME_NODE(DT_CHOSEN(sota_staging), SLOT),
	     "CONFIG_SOTA_BOOTLOADER: sota,staging must be MCUboot's secondary slot, slot1_partition");

#define IMAGE_MAGIC 0x96f3b83dU
#define CHUNK 128

static uint32_t page_size;
static uint32_t header;
static uint32_t limit;
static bool on_trial;

bool sota_bootloader_on_trial(void)
{
	return on_trial;
}

static bool blank(const struct flash_area *area, uint32_t at, uint32_t len)
{
	uint8_t bytes[CHUNK];

	for (uint32_t done = 0; done < len; done += sizeof(bytes)) {
		uint32_t n = MIN(sizeof(bytes), len - done);

		if (flash_area_read(area, at + done, bytes, n) != 0) {
			return false;
		}
		for (uint32_t i = 0; i < n; i++) {
			if (bytes[i] != flash_area_erased_val(area)) {
				return false;
			}
		}
	}
	return true;
}

/* Erased pages are left as they are: erases are what wears the part. */
static int make_blank(const struct flash_area *area, uint32_t at, uint32_t len)
{
	return blank(area, at, len) ? 0 : flash_area_flatten(area, at, len);
}

static int hide_from_mcuboot(const struct flash_area *area)
{
	int error = make_blank(area, 0, header + page_size);

	return error != 0 ? error : make_blank(area, limit, area->fa_size - limit);
}

/* MCUboot looks for an image behind the first sector of the part, which may be less than a page of the component. */
static uint32_t header_of(const struct flash_area *area)
{
#ifdef CONFIG_MCUBOOT_BOOTLOADER_MODE_SWAP_USING_OFFSET
	struct flash_pages_info sector;

	if (flash_get_page_info_by_offs(flash_area_get_device(area), area->fa_off, &sector) == 0) {
		return sector.size;
	}
	return area->fa_size; /* no window fits behind it */
#else
	ARG_UNUSED(area);
	return 0;
#endif
}

bool sota_bootloader_window(const struct flash_area *area, uint32_t page, uint32_t *from, uint32_t *size)
{
	ssize_t trailer = boot_get_trailer_status_offset(area->fa_size);

	page_size = page;
	header = header_of(area);
	limit = trailer < 0 ? 0 : ROUND_DOWN((uint32_t)trailer, page);
	if (limit < header + 2 * page) {
		return false;
	}
	*from = header + page;
	*size = ROUND_DOWN(limit - *from, page);
	on_trial = mcuboot_swap_type() == BOOT_SWAP_TYPE_REVERT;
	if (!on_trial && hide_from_mcuboot(area) != 0) {
		LOG_ERR("sota,staging: first pages and trailer cannot be erased");
		return false;
	}
	return true;
}

uint32_t sota_shim_firmware_slot(void)
{
	/* What is staged in the window has room in the slot, moved down by one page. */
	return limit > header + page_size ? limit - header - page_size : 0;
}

/* One page down, page by page; the page that an image ends in is moved whole. */
static int move_down(const struct flash_area *area, uint32_t length)
{
	uint8_t bytes[CHUNK];
	int error = 0;

	for (uint32_t at = header; at < header + length && error == 0; at += page_size) {
		error = flash_area_flatten(area, at, page_size);
		for (uint32_t done = 0; done < page_size && error == 0; done += sizeof(bytes)) {
			error = flash_area_read(area, at + page_size + done, bytes, sizeof(bytes));
			if (error == 0) {
				error = flash_area_write(area, at + done, bytes, sizeof(bytes));
			}
		}
	}
	return error;
}

void sota_shim_boot_trial(uint32_t length)
{
	const struct flash_area *area;
	uint32_t magic = 0;
	int error = flash_area_open(DT_FIXED_PARTITION_ID(SLOT), &area);

	if (error != 0) {
		LOG_ERR("slot: %d", error);
		return;
	}
	(void)flash_area_read(area, header + page_size, &magic, sizeof(magic));
	if (sys_le32_to_cpu(magic) != IMAGE_MAGIC || flash_area_erased_val(area) != 0xff) {
		LOG_ERR("the package is no MCUboot image");
		return;
	}
	error = move_down(area, length);
	if (error == 0) {
		error = boot_request_upgrade(BOOT_UPGRADE_TEST);
	}
	if (error != 0) {
		LOG_ERR("image not marked for a trial: %d", error);
		(void)hide_from_mcuboot(area);
		return;
	}
	LOG_INF("restart into the new image, on trial");
	sota_shim_reboot();
}

bool sota_shim_firmware_confirm(void)
{
	const struct flash_area *area;
	int error = boot_write_img_confirmed();

	if (error != 0) {
		LOG_ERR("image not confirmed: %d", error);
		return false;
	}
	LOG_INF("the new image has registered: confirmed");
	on_trial = false;
	if (flash_area_open(DT_FIXED_PARTITION_ID(SLOT), &area) == 0) {
		(void)hide_from_mcuboot(area);
	}
	return true;
}

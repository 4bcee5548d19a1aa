/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * Staging and journal on the flash map. Page, write size and erased value are the driver's: the ones the image was
 * built with (from the devicetree) are compared with it, and a partition where they do not agree is not used.
 */
#include <zephyr/devicetree.h>
#include <zephyr/drivers/flash.h>
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>
#include <zephyr/storage/flash_map.h>

#include "shim.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

#define STAGING DT_CHOSEN(sota_staging)
#define JOURNAL DT_CHOSEN(sota_journal)

static struct {
	const char *name;
	uint8_t id;
	const struct flash_area *area;
	/* Window of the area that the component may use. */
	uint32_t from;
	uint32_t size;
} parts[2] = {
	{.name = "sota,staging", .id = DT_FIXED_PARTITION_ID(STAGING)},
	{.name = "sota,journal", .id = DT_FIXED_PARTITION_ID(JOURNAL)},
};

#define MISFIT "%s size %u, built for %u"

/* Whether every page of the window divides `page` and every unit of write divides `write`. */
static bool agrees(const struct device *device, off_t from, uint32_t size, uint32_t page, uint32_t write)
{
	struct flash_pages_info info;
	off_t at = from;
	uint32_t size_of_one = flash_get_write_block_size(device);

	if (write % size_of_one != 0) {
		LOG_ERR(MISFIT, "write", size_of_one, write);
		return false;
	}
	if (IS_ENABLED(CONFIG_FLASH_PAGE_LAYOUT)) {
		while (at < from + (off_t)size) {
			if (flash_get_page_info_by_offs(device, at, &info) != 0) {
				return false;
			}
			if (page % info.size != 0 || (info.start_offset == at && (at - from) % info.size != 0)) {
				LOG_ERR(MISFIT, "page", (unsigned int)info.size, page);
				return false;
			}
			at = info.start_offset + info.size;
		}
	}
	return true;
}

/* Opens a part; NULL, or why it is not used: one call of the log for all, as each takes 50 bytes. */
static const char *use(uint8_t id, uint32_t page, uint32_t write)
{
	const struct device *device;

	if (flash_area_open(parts[id].id, &parts[id].area) != 0) {
		return "cannot be opened";
	}
	device = flash_area_get_device(parts[id].area);
	if (!device_is_ready(device)) {
		return "its device is not ready";
	}
	parts[id].from = 0;
	parts[id].size = parts[id].area->fa_size;
#ifdef CONFIG_SOTA_BOOTLOADER
	if (id == 0 && !sota_bootloader_window(parts[id].area, page, &parts[id].from, &parts[id].size)) {
		return "too small for MCUboot";
	}
#endif
	return agrees(device, parts[id].area->fa_off + parts[id].from, parts[id].size, page, write)
		       ? NULL
		       : "its flash is not the one of the devicetree";
}

void sota_shim_flash_open(uint8_t id, uint32_t page, uint32_t write, struct sota_area *area)
{
	const char *why;

	area->size = 0;
	area->erased = 0xff;
	if (id >= ARRAY_SIZE(parts)) {
		return;
	}
	why = use(id, page, write);
	if (why != NULL) {
		LOG_ERR("%s is not used: %s", parts[id].name, why);
		return;
	}
	area->erased = flash_get_parameters(flash_area_get_device(parts[id].area))->erase_value;
	area->size = parts[id].size;
	LOG_INF("%s: %u bytes, page %u, write %u", parts[id].name, area->size, page, write);
}

int32_t sota_shim_flash_read(uint8_t id, uint32_t at, uint8_t *to, uint32_t len)
{
	return flash_area_read(parts[id].area, parts[id].from + at, to, len);
}

/* On trial the slot has the image that comes back. */
static bool locked(uint8_t id)
{
#ifdef CONFIG_SOTA_BOOTLOADER
	return id == 0 && sota_bootloader_on_trial();
#else
	ARG_UNUSED(id);
	return false;
#endif
}

int32_t sota_shim_flash_write(uint8_t id, uint32_t at, const uint8_t *from, uint32_t len)
{
	if (locked(id)) {
		return -EBUSY;
	}
	return flash_area_write(parts[id].area, parts[id].from + at, from, len);
}

int32_t sota_shim_flash_erase(uint8_t id, uint32_t at, uint32_t len)
{
	if (locked(id)) {
		return -EBUSY;
	}
	return flash_area_flatten(parts[id].area, parts[id].from + at, len);
}

#ifndef CONFIG_SOTA_BOOTLOADER
uint32_t sota_shim_firmware_slot(void)
{
	return 0;
}

void sota_shim_boot_trial(uint32_t length)
{
	ARG_UNUSED(length);
	LOG_ERR("no bootloader that could take the image");
}

bool sota_shim_firmware_confirm(void)
{
	return false;
}
#endif

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

static const char *const names[] = {"sota,staging", "sota,journal"};
static const uint8_t ids[] = {DT_FIXED_PARTITION_ID(STAGING), DT_FIXED_PARTITION_ID(JOURNAL)};
static struct part {
	const struct flash_area *area;
	/* Window of the area that the component may use. */
	uint32_t from;
	uint32_t size;
} parts[2];

/* What does not fit, and how large it is: every page of the window must divide `page`, every unit of write `write`. */
static const char *misfit(const struct device *device, const struct part *part, uint32_t page, uint32_t write,
			  uint32_t *size)
{
	struct flash_pages_info info;
	off_t from = part->area->fa_off + part->from;
	off_t at = from;

	*size = flash_get_write_block_size(device);
	if (write % *size != 0) {
		return "write size";
	}
	if (IS_ENABLED(CONFIG_FLASH_PAGE_LAYOUT)) {
		while (at < from + (off_t)part->size) {
			if (flash_get_page_info_by_offs(device, at, &info) != 0) {
				return "no page at its end";
			}
			*size = info.size;
			if (page % *size != 0 || (info.start_offset == at && (at - from) % *size != 0)) {
				return "page size";
			}
			at = info.start_offset + *size;
		}
	}
	return NULL;
}

/* Opens a part; NULL, or why it is not used: one call of the log for all, as each takes 50 bytes. */
static const char *use(uint8_t id, uint32_t page, uint32_t write, struct sota_area *area, uint32_t *size)
{
	struct part *part = &parts[id];
	const struct device *device;
	const char *why;

	if (flash_area_open(ids[id], &part->area) != 0) {
		return "cannot be opened";
	}
	device = flash_area_get_device(part->area);
	if (!device_is_ready(device)) {
		return "device not ready";
	}
	part->from = 0;
	part->size = part->area->fa_size;
#ifdef CONFIG_SOTA_BOOTLOADER
	if (id == 0 && !sota_bootloader_window(part->area, page, &part->from, &part->size)) {
		return "too small for MCUboot";
	}
#endif
	why = misfit(device, part, page, write, size);
	if (why == NULL) {
		area->erased = flash_get_parameters(device)->erase_value;
		area->size = part->size;
	}
	return why;
}

void sota_shim_flash_open(uint8_t id, uint32_t page, uint32_t write, struct sota_area *area)
{
	const char *why;
	uint32_t size = 0;

	area->size = 0;
	area->erased = 0xff;
	if (id >= ARRAY_SIZE(parts)) {
		return;
	}
	why = use(id, page, write, area, &size);
	if (why != NULL) {
		LOG_ERR("%s is not used: %s %u; built for page %u, write %u", names[id], why, size, page, write);
		return;
	}
	LOG_INF("%s: %u bytes, page %u, write %u", names[id], area->size, page, write);
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
	LOG_ERR("no bootloader for the image");
}

bool sota_shim_firmware_confirm(void)
{
	return false;
}
#endif

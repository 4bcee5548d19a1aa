/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The engine's self test on the processor and flash driver of the board. The cases are in rust/src/cases.rs.
 */
#include <zephyr/kernel.h>
#include <zephyr/storage/flash_map.h>
#include <zephyr/ztest.h>

/* Whether the case passed. */
bool selftest_upgrade(void);
bool selftest_restarts(void);
bool selftest_wrong_digest(void);
bool selftest_flash_error(void);

static void blank(uint8_t id)
{
	const struct flash_area *area;

	zassert_equal(flash_area_open(id, &area), 0);
	zassert_equal(flash_area_flatten(area, 0, area->fa_size), 0);
}

static void before(void *unused)
{
	ARG_UNUSED(unused);
	blank(DT_FIXED_PARTITION_ID(DT_CHOSEN(sota_staging)));
	blank(DT_FIXED_PARTITION_ID(DT_CHOSEN(sota_journal)));
}

/* A word of staging is no longer erased: the driver refuses to write there. */
bool selftest_spoil(uint32_t at)
{
	static const uint8_t word[4] = {0x5a, 0x5a, 0x5a, 0x5a};
	const struct flash_area *area;

	return flash_area_open(DT_FIXED_PARTITION_ID(DT_CHOSEN(sota_staging)), &area) == 0 &&
	       flash_area_write(area, at, word, sizeof(word)) == 0;
}

/* What does not hold. */
void selftest_says(const char *text, size_t length)
{
	TC_PRINT("%.*s\n", (int)length, text);
}

static void passes(bool (*test)(void))
{
	int64_t began = k_uptime_get();

	zassert_true(test());
	TC_PRINT("%d ms\n", (int)(k_uptime_get() - began));
}

ZTEST_SUITE(sota_selftest, NULL, NULL, before, NULL, NULL);

ZTEST(sota_selftest, test_upgrade)
{
	passes(selftest_upgrade);
}

ZTEST(sota_selftest, test_restarts)
{
	passes(selftest_restarts);
}

ZTEST(sota_selftest, test_wrong_digest)
{
	passes(selftest_wrong_digest);
}

ZTEST(sota_selftest, test_flash_error)
{
	passes(selftest_flash_error);
}

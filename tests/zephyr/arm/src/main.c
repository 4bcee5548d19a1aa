/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The stand-alone application with a battery and a radio that suit every plan.
 */
#include <sota/sota.h>

int sota_battery_percent(void)
{
	return 100;
}

int sota_rsrp_dbm(void)
{
	return -80;
}

int main(void)
{
	return 0;
}

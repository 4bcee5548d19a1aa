/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * Main of the stand-alone application: the component's threads run by themselves (CONFIG_SOTA_AUTOSTART).
 */
int main(void)
{
	return 0;
}

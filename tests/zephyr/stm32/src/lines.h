/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LINES_H_
#define LINES_H_

/* On the PC's side: sends the changes to the socket at `path` that the simulated chip made; docs/stm32.md has the bytes. */
int lines_send(const char *path, const char *changes, int count);

#endif

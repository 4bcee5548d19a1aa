/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The reset and boot lines on the PC's side, with the PC's own C library. The connection ends with the program, as the
 * outputs of a module without power do.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lines.h"

static int chip = -1;

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	chip = socket(AF_UNIX, SOCK_STREAM, 0);
	if (chip >= 0 && connect(chip, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(chip);
		chip = -1;
	}
	return chip;
}

int lines_send(const char *path, const char *changes, int count)
{
	/* A chip that was started again has a new socket. */
	if (chip >= 0 && send(chip, changes, count, MSG_NOSIGNAL) == count) {
		return 0;
	}
	if (chip >= 0) {
		close(chip);
		chip = -1;
	}
	return connect_to(path) >= 0 && send(chip, changes, count, MSG_NOSIGNAL) == count ? 0 : -1;
}

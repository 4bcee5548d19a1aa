/* A whole MCU on a PC: the flash is a file, the UART is stdin and stdout, a reset starts main's loop anew.
 *
 *     cc -I include crates/mcu-c/examples/upgrade.c target/debug/libsota_mcu_c.a -lpthread -ldl -lm -o mcu
 *     ./mcu flash.bin
 *
 * The file's first slot begins with the version of its image, as text: that is all there is to "run" here. */
#include "sota/mcu.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE 1024

static int flash;
static bool resets;

static const sota_mcu_layout layout = {
	.active = 0, .active_length = 29 * PAGE, .other = 29 * PAGE, .other_length = 33 * PAGE,
	.page = PAGE, .state = 62 * PAGE, .state_page = PAGE, .word = 8,
};

static int32_t flash_read(void *context, uint32_t address, uint8_t *bytes, uint32_t length)
{
	return pread(flash, bytes, length, address) != (ssize_t)length;
}

static int32_t flash_write(void *context, uint32_t address, const uint8_t *bytes, uint32_t length)
{
	return pwrite(flash, bytes, length, address) != (ssize_t)length;
}

static int32_t flash_erase(void *context, uint32_t address, uint32_t length)
{
	uint8_t erased[PAGE];
	memset(erased, 0xFF, sizeof(erased));
	return flash_write(context, address, erased, length);
}

static uint32_t uart_read(void *context, uint8_t *bytes, uint32_t length)
{
	struct pollfd in = {.fd = 0, .events = POLLIN};
	return poll(&in, 1, 0) > 0 ? (uint32_t)read(0, bytes, length) : 0;
}

static uint32_t uart_write(void *context, const uint8_t *bytes, uint32_t length)
{
	return (uint32_t)write(1, bytes, length);
}

static uint32_t now_ms(void *context)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

static void reset(void *context) { resets = true; }
static void event(void *context, uint16_t number) { fprintf(stderr, "event %u\n", number); }

int main(int argc, char **argv)
{
	flash = open(argv[argc - 1], O_RDWR);
	if (flash < 0) return 2;
	static const sota_mcu_port port = {
		.flash_read = flash_read, .flash_write = flash_write, .flash_erase = flash_erase,
		.uart_read = uart_read, .uart_write = uart_write, .now_ms = now_ms, .reset = reset, .event = event,
	};
	for (;;) {
		if (sota_mcu_boot(&layout, &port, 1) != 0) return 3; /* the bootloader */
		char version[65] = {0}; /* and what it starts */
		if (pread(flash, version, 64, layout.active) != 64) return 4;
		sota_mcu_config config = {
			.component = "STM32", .version = version, .hardware = "rev-b",
			.baud = 115200, .confirm_within_ms = 60000,
		};
		if (sota_mcu_start(&config, &layout, &port) != 0) return 5;
		fprintf(stderr, "runs %s, boot state %d\n", version, sota_mcu_boot_state(NULL));
		for (resets = false; !resets;) {
			uint32_t wait = sota_mcu_step();
			if (sota_mcu_is_up()) sota_mcu_confirm(); /* the module answers: good enough */
			struct pollfd line = {.fd = 0, .events = POLLIN};
			if (poll(&line, 1, wait < 1000 ? (int)wait : 1000) > 0 && line.revents == POLLHUP) return 0;
		}
	}
}

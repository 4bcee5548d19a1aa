/* The port of the size image: every input and output goes through a volatile register, so the linker can
 * neither guess a byte nor drop a path that some byte reaches. Nothing here is counted as the component. */
#include <stddef.h>
#include <stdint.h>

#define REGISTER (*(volatile uint32_t *)0x40000000u)

uint32_t port_word(void) { return REGISTER; }

void port_take(uint8_t *to, size_t length)
{
	while (length--) {
		*to++ = (uint8_t)REGISTER;
	}
}

void port_give(const uint8_t *from, size_t length)
{
	while (length--) {
		REGISTER = *from++;
	}
}

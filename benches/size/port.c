/* The port of the size image: every input and output goes through a volatile register, so the linker can
 * neither guess a byte nor drop a path that some byte reaches. Its own few bytes are in the figures. */
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

/* What every C library has; plain loops, as those built for size are. */
void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
	unsigned char *t = to;
	const unsigned char *f = from;
	while (length--) {
		*t++ = *f++;
	}
	return to;
}

void *memmove(void *to, const void *from, size_t length)
{
	unsigned char *t = to;
	const unsigned char *f = from;
	if (t <= f) {
		while (length--) {
			*t++ = *f++;
		}
	} else {
		while (length--) {
			t[length] = f[length];
		}
	}
	return to;
}

void *memset(void *to, int value, size_t length)
{
	unsigned char *t = to;
	while (length--) {
		*t++ = (unsigned char)value;
	}
	return to;
}

int memcmp(const void *one, const void *other, size_t length)
{
	const unsigned char *a = one;
	const unsigned char *b = other;
	for (; length--; a++, b++) {
		if (*a != *b) {
			return *a - *b;
		}
	}
	return 0;
}

/* The names that the ARM ABI gives them (RTABI 4.3.4). */
void __aeabi_memcpy(void *to, const void *from, size_t length) { memcpy(to, from, length); }
void __aeabi_memcpy4(void *to, const void *from, size_t length) __attribute__((alias("__aeabi_memcpy")));
void __aeabi_memcpy8(void *to, const void *from, size_t length) __attribute__((alias("__aeabi_memcpy")));
void __aeabi_memmove(void *to, const void *from, size_t length) { memmove(to, from, length); }
void __aeabi_memmove4(void *to, const void *from, size_t length) __attribute__((alias("__aeabi_memmove")));
void __aeabi_memmove8(void *to, const void *from, size_t length) __attribute__((alias("__aeabi_memmove")));
void __aeabi_memset(void *to, size_t length, int value) { memset(to, value, length); }
void __aeabi_memset4(void *to, size_t length, int value) __attribute__((alias("__aeabi_memset")));
void __aeabi_memset8(void *to, size_t length, int value) __attribute__((alias("__aeabi_memset")));
void __aeabi_memclr(void *to, size_t length) { memset(to, 0, length); }
void __aeabi_memclr4(void *to, size_t length) __attribute__((alias("__aeabi_memclr")));
void __aeabi_memclr8(void *to, size_t length) __attribute__((alias("__aeabi_memclr")));

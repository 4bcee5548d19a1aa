/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * The run-time ABI's memory functions by those of the image's C library, which is there anyway: Rust's own would take
 * another 1.2 KB.
 */
#include <stddef.h>
#include <string.h>

#define ALIGNED(name)                                                                                                  \
	extern __typeof__(name) name##4 __attribute__((alias(#name)));                                                 \
	extern __typeof__(name) name##8 __attribute__((alias(#name)))

void __aeabi_memcpy(void *to, const void *from, size_t n);
void __aeabi_memmove(void *to, const void *from, size_t n);
void __aeabi_memset(void *to, size_t n, int value);
void __aeabi_memclr(void *to, size_t n);

void __aeabi_memcpy(void *to, const void *from, size_t n)
{
	memcpy(to, from, n);
}

void __aeabi_memmove(void *to, const void *from, size_t n)
{
	memmove(to, from, n);
}

void __aeabi_memset(void *to, size_t n, int value)
{
	memset(to, value, n);
}

void __aeabi_memclr(void *to, size_t n)
{
	memset(to, 0, n);
}

ALIGNED(__aeabi_memcpy);
ALIGNED(__aeabi_memmove);
ALIGNED(__aeabi_memset);
ALIGNED(__aeabi_memclr);

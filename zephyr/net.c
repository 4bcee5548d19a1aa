/*
 * Copyright (c) the authors of the open SOTA system
 * SPDX-License-Identifier: Apache-2.0
 *
 * UDP by zsock_*: one socket per address family, two peers, and an eventfd that wakes the thread cloud.
 */
#include <string.h>
#include <zephyr/kernel.h>
#include <zephyr/logging/log.h>
#include <zephyr/net/socket.h>
#include <zephyr/zvfs/eventfd.h>

#include "shim.h"

LOG_MODULE_DECLARE(sota, CONFIG_SOTA_LOG_LEVEL);

enum { V4, V6, FAMILIES };

static int sockets[FAMILIES] = {-1, -1};
static int wake_fd = -1;
/* Server and source of packages; family AF_UNSPEC: not known. */
static struct sockaddr_storage peers[2];

int sota_net_start(void)
{
	wake_fd = zvfs_eventfd(0, ZVFS_EFD_NONBLOCK);
	return wake_fd;
}

void sota_net_wake(void)
{
	/* A counter that is full holds wake-ups enough. */
	(void)zvfs_eventfd_write(wake_fd, 1);
}

static int family_of(const struct sockaddr *address)
{
	return address->sa_family == AF_INET6 ? V6 : V4;
}

static socklen_t size_of(const struct sockaddr *address)
{
	return address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* The socket of the family, made when it is wanted first: a modem may come up late. */
static int open_socket(int family)
{
	if (sockets[family] < 0) {
		sockets[family] = zsock_socket(family == V6 ? AF_INET6 : AF_INET, SOCK_DGRAM, IPPROTO_UDP);
		if (sockets[family] < 0) {
			LOG_WRN("no socket: %d", errno);
		}
	}
	return sockets[family];
}

void sota_shim_sleep_net(int32_t ms)
{
	/* poll passes by what is negative. */
	struct zsock_pollfd fds[] = {
		[V4] = {.fd = sockets[V4], .events = ZSOCK_POLLIN},
		[V6] = {.fd = sockets[V6], .events = ZSOCK_POLLIN},
		[FAMILIES] = {.fd = wake_fd, .events = ZSOCK_POLLIN},
	};
	zvfs_eventfd_t wakes;

	if (zsock_poll(fds, ARRAY_SIZE(fds), ms) < 0) {
		LOG_WRN("poll: %d", errno);
		/* Do not spin. A constant: the conversion of a variable is another 50 bytes. */
		k_sleep(K_MSEC(100));
	}
	if (fds[FAMILIES].revents != 0) {
		(void)zvfs_eventfd_read(wake_fd, &wakes);
	}
	for (int family = 0; family < FAMILIES; family++) {
		if ((fds[family].revents & (ZSOCK_POLLHUP | ZSOCK_POLLNVAL)) != 0) {
			/* The network stack took it away (a modem that restarted): a new one is made at the next send. */
			(void)zsock_close(sockets[family]);
			sockets[family] = -1;
		}
	}
}

static bool literal(const char *host, struct sockaddr_storage *to)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)to;

	if (zsock_inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		return true;
	}
#ifdef CONFIG_NET_IPV6
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;

	if (zsock_inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		return true;
	}
#endif
	return false;
}

static bool look_up(const char *name, struct sockaddr_storage *to)
{
#if defined(CONFIG_DNS_RESOLVER) || defined(CONFIG_NET_SOCKETS_OFFLOAD)
	struct zsock_addrinfo hints = {.ai_socktype = SOCK_DGRAM};
	struct zsock_addrinfo *found = NULL;

	if (zsock_getaddrinfo(name, NULL, &hints, &found) == 0 && found != NULL) {
		memcpy(to, found->ai_addr, MIN(found->ai_addrlen, sizeof(*to)));
		zsock_freeaddrinfo(found);
		return true;
	}
	LOG_WRN("%s has no address", name);
#else
	LOG_WRN("%s: names need CONFIG_DNS_RESOLVER", name);
#endif
	return false;
}

bool sota_shim_net_resolve(uint8_t peer, const char *host, uint32_t len, uint16_t port)
{
	struct sockaddr_storage *to;
	char name[64 + 1];

	if (peer >= ARRAY_SIZE(peers) || len >= sizeof(name)) {
		return false;
	}
	memcpy(name, host, len);
	name[len] = '\0';
	to = &peers[peer];
	memset(to, 0, sizeof(*to));
	if (!literal(name, to) && !look_up(name, to)) {
		return false;
	}
	/* At the same place in both families. */
	net_sin((struct sockaddr *)to)->sin_port = htons(port);
	return true;
}

void sota_shim_net_send(uint8_t peer, const uint8_t *from, uint32_t len)
{
	const struct sockaddr *to = (const struct sockaddr *)&peers[peer];
	int fd;

	if (to->sa_family == AF_UNSPEC) {
		return;
	}
	fd = open_socket(family_of(to));
	if (fd >= 0 && zsock_sendto(fd, from, len, 0, to, size_of(to)) < 0) {
		LOG_DBG("send: %d", errno);
	}
}

static bool same(const struct sockaddr *a, const struct sockaddr *b)
{
	if (a->sa_family != b->sa_family) {
		return false;
	}
#ifdef CONFIG_NET_IPV6
	if (a->sa_family == AF_INET6) {
		const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)a;
		const struct sockaddr_in6 *y = (const struct sockaddr_in6 *)b;

		return x->sin6_port == y->sin6_port &&
		       memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
	}
#endif
	const struct sockaddr_in *x = (const struct sockaddr_in *)a;
	const struct sockaddr_in *y = (const struct sockaddr_in *)b;

	return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
}

int32_t sota_shim_net_recv(uint8_t *peer, uint8_t *to, uint32_t len)
{
	struct sockaddr_storage from;
	socklen_t size;
	ssize_t n;

	for (int i = 0; i < FAMILIES; i++) {
		while (sockets[i] >= 0) {
			size = sizeof(from);
			n = zsock_recvfrom(sockets[i], to, len, ZSOCK_MSG_DONTWAIT, (struct sockaddr *)&from, &size);
			if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOTCONN &&
			    errno != ECONNREFUSED) {
				LOG_DBG("receive: %d", errno);
			}
			if (n < 0) {
				break;
			}
			for (int p = 0; p < (int)ARRAY_SIZE(peers); p++) {
				if (same((struct sockaddr *)&from, (struct sockaddr *)&peers[p])) {
					*peer = p;
					return n;
				}
			}
			/* A stranger's: dropped. */
		}
	}
	return -1;
}

/* Sockets: how to listen, and what the errors of accept and of the event loop's wait mean. */
#ifndef COMMON_NET_H
#define COMMON_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lower the soft limit RLIMIT_NOFILE to most, unless it is lower already: no descriptor opened from
 * now on gets the number most or a higher one (getrlimit(2)). */
void net_limit_descriptors(unsigned most);

/* Open a listening socket, and print "NAME: listening on URL" to stdout; die on failure. flags is
 * SOCK_NONBLOCK or 0. Accepted sockets inherit TCP_NODELAY: what is sent leaves immediately. */
int net_listen(const char *name, const char *host, const char *port, int flags);

/* accept has failed with this errno: may it be called again immediately? True if no client, or only
 * this one, is lost. False if the process has run out of something (EMFILE, ENFILE, ENOBUFS,
 * ENOMEM; accept(2)), or if the error is unknown: then pause first. Die if the descriptor is not a
 * listening socket. */
bool net_accept_again(int error);

/* Out of something: how long an event loop pauses, unless a connection closes sooner (03 to 06),
 * and how long a blocking server sleeps (01, 02), before the next accept. */
#define NET_PAUSE_NS INT64_C(1000000000)
#define NET_RETRY_NS INT64_C(10000000)

/* Lingering: after an error, the client may still be sending. Discard its input, at most so many
 * bytes and for at most so long, before closing. */
#define NET_LINGER_BYTES ((size_t)4 << 20)
int64_t net_linger_ns(int64_t timeout_ns);

/* Is there input that has not been read? close would then reset the connection. */
bool net_unread(int fd);

/* The event loop's wait, call, has failed with errno. Ignore EINTR; pause for NET_RETRY_NS if the
 * kernel is out of memory; die of anything else. */
void net_wait_failed(const char *call);

#endif

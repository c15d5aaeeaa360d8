/* Sockets: how to listen, and what the errors of accept and of the event loop's wait mean. */
#ifndef COMMON_NET_H
#define COMMON_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Lower the soft limit RLIMIT_NOFILE to most, unless it is lower already. From then on, no new
 * descriptor gets the number most or a higher one (getrlimit(2)). */
void net_limit_descriptors(unsigned most);

/* Return a listening socket; exit if that fails. flags is SOCK_NONBLOCK or 0. Accepted sockets
 * inherit TCP_NODELAY: each response leaves immediately. */
int net_listen(const char *host, const char *port, int flags);

/* Print "NAME: listening on URL" to stdout, with the port that the kernel has chosen for port 0.
 * Return false, with errno set, if stdout does not take it. */
bool net_announce(int listener, const char *name);

/* accept has failed with this errno. Return true if the caller may call it again immediately: no
 * client, or only this one, is lost (EINTR, ECONNABORTED, EPROTO). Return false if the caller has
 * to pause first: the process has run out of something (EMFILE, ENFILE, ENOBUFS, ENOMEM;
 * accept(2)), or the error is unknown. Exit if the descriptor is not a listening socket. */
bool net_accept_again(int error);

/* How long to wait for the next accept when the process has run out of something: an event loop
 * (03 to 06) pauses, unless a connection closes sooner; a blocking server (01, 02) retries, after
 * net_pause. */
#define NET_PAUSE_NS INT64_C(1000000000)
#define NET_RETRY_NS INT64_C(10000000)

/* Sleep for NET_RETRY_NS. */
void net_pause(void);

/* Lingering: after the last answer, the client may still be sending. Before closing, discard its
 * input: at most NET_LINGER_BYTES, and for timeout_ns or two seconds, whichever is shorter. */
#define NET_LINGER_BYTES ((size_t)4 << 20)
int64_t net_linger_ns(int64_t timeout_ns);

struct http_request;

/* The last response has been sent, to this request, and left bytes after its head have been
 * received. Return false if the caller may close fd now. Otherwise the client may still be sending,
 * and close with unread input would reset the connection, so that the response might be lost on its
 * way. In that case end our half of the connection, and return true: the caller gives the client
 * some time to close its own (RFC 9112 §9.6). */
bool net_linger(int fd, const struct http_request *last, size_t left);

/* Write ms to *wait, and return it, for pselect or ppoll. If ms is -1, return NULL: no limit. */
struct timespec *net_timeout(struct timespec *wait, int ms);

/* The system call in which the event loop waits, named call, has failed with errno. Ignore EINTR;
 * pause for NET_RETRY_NS if the kernel is out of memory; exit after any other error. */
void net_wait_failed(const char *call);

#endif

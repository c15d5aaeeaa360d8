/* The calls in which common/blocking.c, clock.c and net.c would block, or a handler that asks
 * another server. With the linker's option --wrap=recv, each call of recv, in whatever object file,
 * calls __wrap_recv instead, and __real_recv is the function of the C library (ld(1)). So the
 * object files stay as they are. */
#ifndef TESTS_JUDGING_WRAPPED_H
#define TESTS_JUDGING_WRAPPED_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

ssize_t __real_recv(int fd, void *bytes, size_t room, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t room, int flags);

ssize_t __real_send(int fd, const void *bytes, size_t length, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t length, int flags);

int __real_connect(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length);

int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length);

int __real_clock_nanosleep(clockid_t clock, int flags, const struct timespec *moment,
                           struct timespec *left);
int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *moment,
                           struct timespec *left);

/* This one computes, and delays every client. We only let signals in meanwhile. */
void __real_clock_compute(int64_t duration_ns);
void __wrap_clock_compute(int64_t duration_ns);

#endif

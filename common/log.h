/* What a running server writes to stderr: the access log of --verbose, and the events of workers.
 * options_parse has seen to it that each line is one write, and server_open that a line that cannot
 * be written is lost, without harm. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stddef.h>
#include <stdint.h>

/* Print a line about one response: the time, the client at fd, the first line of the request (head,
 * length bytes), the status and the duration. In the request, " and \ get a \ in front, so that a
 * client cannot forge what follows it, and bytes that are not printable become "?". If nobody reads
 * stderr, this blocks, but only until the server is told to stop: SIGTERM and SIGINT are let in. */
void log_request(int fd, const char *head, size_t length, int status, int64_t duration_ns);

/* Print a line that begins with the name of the program. This never blocks: if nobody reads stderr,
 * the line is lost. */
void log_event(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

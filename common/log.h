/* The access log of --verbose. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stddef.h>
#include <stdint.h>

/* Print a line about one response to stderr: the time, the client at fd, the first line of the
 * request (head, length bytes), the status and the duration. */
void log_request(int fd, const char *head, size_t length, int status, int64_t duration_ns);

#endif

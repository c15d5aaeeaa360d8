#include "common/log.h"

#include "common/clock.h"
#include "common/stop.h"

#include <ctype.h>
#include <err.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Wait until stderr takes a line, but no longer than this. */
static bool is_writable(int wait_ms)
{
    struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};

    return poll(&log, 1, wait_ms) > 0;
}

/* Look again every 100 ms: a signal may have come before the wait began, or in another thread. */
static bool wait_until_writable(void)
{
    bool writable = is_writable(0);

    if (writable)
        return true;
    stop_let_in();
    while (!writable && !stop_requested)
        writable = is_writable(100);
    stop_keep_out();
    return writable;
}

/* Copy the first line of head to line, without what could end or forge the quotation. */
static void quote(char *line, size_t size, const char *head, size_t length)
{
    size_t n = 0;

    for (size_t i = 0; i < length && n < size - 2 && head[i] != '\r' && head[i] != '\n'; i++) {
        if (head[i] == '"' || head[i] == '\\')
            line[n++] = '\\';
        line[n++] = isprint((unsigned char)head[i]) ? head[i] : '?';
    }
    line[n] = '\0';
}

void log_request(int fd, const char *head, size_t length, int status, int64_t duration_ns)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    char host[NI_MAXHOST] = "-", port[NI_MAXSERV] = "-", line[80], when[32];
    time_t now = clock_date();
    struct tm t = {.tm_mday = 1};

    if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0)
        getnameinfo((struct sockaddr *)&peer, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    quote(line, sizeof line, head, length);
    gmtime_r(&now, &t);
    strftime(when, sizeof when, "%FT%TZ", &t);
    if (wait_until_writable())
        fprintf(stderr, "%s %s:%s \"%s\" %d %.3f ms\n", when, host, port, line, status,
                (double)duration_ns / NS_PER_MS);
}

void log_event(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (is_writable(0))
        vwarnx(format, args);
    va_end(args);
}

#include "common/log.h"

#include "common/clock.h"

#include <ctype.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

void log_request(int fd, const char *head, size_t length, int status, int64_t duration_ns)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    char host[NI_MAXHOST] = "-", port[NI_MAXSERV] = "-", line[80], when[32];
    time_t now = time(NULL);
    struct tm t = {.tm_mday = 1};
    size_t n = 0;

    if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0)
        getnameinfo((struct sockaddr *)&peer, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    /* Control characters from a client must not reach a terminal. */
    for (; n < length && n < sizeof line - 1 && head[n] != '\r' && head[n] != '\n'; n++)
        line[n] = isprint((unsigned char)head[n]) ? head[n] : '?';
    line[n] = '\0';
    gmtime_r(&now, &t);
    strftime(when, sizeof when, "%FT%TZ", &t);
    signal(SIGPIPE, SIG_IGN); /* the reader of stderr may have left, and the server stays */
    fprintf(stderr, "%s %s:%s \"%s\" %d %.3f ms\n", when, host, port, line, status,
            (double)duration_ns / NS_PER_MS);
}

#include "tests/stages/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int try_dial(int receive_buffer)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = (time_t)PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    EXPECT(fd >= 0, "socket: %m");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (receive_buffer > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int dial(void)
{
    int fd = try_dial(0);

    EXPECT(fd >= 0, "connect: %m");
    return fd;
}

void say_bytes(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        EXPECT(n > 0, "send, with %zu bytes to go: %m", length);
        bytes += n;
        length -= (size_t)n;
    }
}

void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

int dial_and_say(const char *text)
{
    int fd = dial();

    say(fd, text);
    return fd;
}

int dial_and_say_in_time(const char *text)
{
    double until = now() + PATIENCE_S;

    for (;;) {
        double since = now();
        int fd = dial_and_say(text);
        if (now() - since < 0.2)
            return fd;
        close(fd);
        EXPECT(now() < until, "this machine is too slow for the test");
    }
}

void expect_received(int fd)
{
    int bytes; /* that are not acknowledged */

    WAIT_UNTIL(ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes == 0, "%d bytes are not received", bytes);
}

void half_close(int fd)
{
    shutdown(fd, SHUT_WR);
}

void reset(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(fd);
}

bool silent(int fd)
{
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 0;
}

void expect_end(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);

    EXPECT(n == 0, "expected the end of the connection, not %s",
           n > 0 ? "a byte" : strerror(errno));
    close(fd);
}

bool has_line(const struct response *r, const char *name, const char *value)
{
    char line[128];

    snprintf(line, sizeof line, "\r\n%s: %s\r\n", name, value);
    return strstr(r->head, line) != NULL;
}

static void expect_date(const char *head)
{
    const char *date = strstr(head, "\r\nDate: ");
    struct tm t = {0};
    char again[64] = "";

    if (date == NULL)
        ck_abort_msg("%s: no Date in \"%s\"", stage, head);
    if (strptime(date + 8, "%a, %d %b %Y %T GMT", &t) != NULL)
        strftime(again, sizeof again, "%a, %d %b %Y %T GMT\r\n", &t);
    EXPECT(*again != '\0' && strncmp(date + 8, again, strlen(again)) == 0,
           "no IMF-fixdate in \"%s\"", head);
    EXPECT(labs(timegm(&t) - time(NULL)) < 60, "wrong date in \"%s\"", head);
}

struct response read_response(int fd, bool with_body)
{
    struct response r = {0};

    for (size_t n = 0; n < 4 || memcmp(r.head + n - 4, "\r\n\r\n", 4) != 0; n++) {
        ssize_t got = n < sizeof r.head - 1 ? recv(fd, r.head + n, 1, 0) : 0;
        EXPECT(got == 1, "incomplete response: %s after \"%s\"",
               got < 0 ? strerror(errno) : "the end", r.head);
    }
    EXPECT(strncmp(r.head, "HTTP/1.1 ", 9) == 0, "no status in \"%s\"", r.head);
    r.status = (int)strtol(r.head + 9, NULL, 10);
    expect_date(r.head);
    EXPECT(has_line(&r, "Server", stage), "no Server in \"%s\"", r.head);
    EXPECT(has_line(&r, "Content-Type", "text/plain; charset=utf-8"), "no Content-Type in \"%s\"",
           r.head);
    const char *length = strstr(r.head, "\r\nContent-Length: ");
    size_t size = length == NULL ? 0 : strtoul(length + 18, NULL, 10);
    EXPECT(size > 0 && size < sizeof r.body, "no Content-Length in \"%s\"", r.head);
    if (with_body)
        EXPECT(recv(fd, r.body, size, MSG_WAITALL) == (ssize_t)size, "incomplete body");
    r.closes = has_line(&r, "Connection", "close");
    r.stays = has_line(&r, "Connection", "keep-alive");
    r.allows = has_line(&r, "Allow", "GET, HEAD");
    return r;
}

struct response expect_ok(int fd, const char *body)
{
    struct response r = read_response(fd, true);

    EXPECT(strncmp(r.head, "HTTP/1.1 200 OK\r\n", 17) == 0, "expected 200, not \"%s\"", r.head);
    EXPECT(strcmp(r.body, body) == 0, "the body is \"%s\", not \"%s\"", r.body, body);
    return r;
}

struct response expect_fast(int fd)
{
    return expect_ok(fd, "That was fast!");
}

struct response expect_slow(int fd)
{
    return expect_ok(fd, "That was slow!");
}

struct response expect_status(int fd, int status)
{
    struct response r = read_response(fd, true);

    EXPECT(r.status == status, "status %d instead of %d", r.status, status);
    return r;
}

void expect_close(int fd, struct response r)
{
    EXPECT(r.closes, "no Connection: close in \"%s\"", r.head);
    expect_end(fd);
}

void expect_served(void)
{
    int fd = dial_and_say_in_time(GET_FAST);

    expect_fast(fd);
    close(fd);
}

int descriptors_at_rest(void)
{
    int fd = dial_and_say_in_time(GET_FAST_CLOSE);

    expect_close(fd, expect_fast(fd));
    expect_asleep(); /* the server has closed the connection, too */
    return descriptors();
}

const char *padded(const char *front, size_t length)
{
    static char text[2 << 20];
    int n = snprintf(text, sizeof text, "%s", front);

    memset(text + n, 'x', length);
    text[(size_t)n + length] = '\0';
    return text;
}

void expect_error(const char *request, int status, bool closes)
{
    int fd = dial_and_say(request);
    struct response r = expect_status(fd, status);

    EXPECT(r.closes == closes, "%d has the wrong Connection field", status);
    EXPECT(r.allows == (status == 405), "%d has the wrong Allow field", status);
    EXPECT(strtol(r.body, NULL, 10) == status && strchr(r.body, '\n') != NULL,
           "the body of %d is \"%s\"", status, r.body);
    if (!closes) {
        say(fd, GET_FAST_CLOSE);
        expect_fast(fd);
    }
    expect_end(fd);
}

void expect_refusal(void)
{
    int fd;

    WAIT_UNTIL((fd = try_dial(0)) < 0 || close(fd) < 0, "still listens");
    EXPECT(errno == ECONNREFUSED || errno == ECONNRESET, "connect: %m");
}

#include "tests/stages/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Returns a connection, or -1 with errno; a receive_buffer of 0 is the kernel's choice. */
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

/* The same for a server whose --timeout is short: however slow this machine is, the client isn't.
 */
int dial_and_say_in_time(const char *text)
{
    for (;;) {
        double since = now();
        int fd = dial_and_say(text);
        if (now() - since < 0.2)
            return fd;
        close(fd);
    }
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

/* Is there nothing to read yet, neither an answer nor an end? */
bool silent(int fd)
{
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 0;
}

void expect_end(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);

    EXPECT(n == 0, "the connection should end here, but: %s", n > 0 ? "a byte" : strerror(errno));
    close(fd);
}

bool has_line(const struct answer *a, const char *name, const char *value)
{
    char line[128];

    snprintf(line, sizeof line, "\r\n%s: %s\r\n", name, value);
    return strstr(a->head, line) != NULL;
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
    EXPECT(*again != '\0' && strncmp(date + 8, again, strlen(again)) == 0, "no IMF-fixdate in %s",
           head);
    EXPECT(labs(timegm(&t) - time(NULL)) < 60, "a wrong date in \"%s\"", head);
}

/* Reads one answer, and not a byte behind it; checks what holds for every one. */
struct answer hear(int fd, bool with_body)
{
    struct answer a = {0};

    for (size_t n = 0; n < 4 || memcmp(a.head + n - 4, "\r\n\r\n", 4) != 0; n++) {
        ssize_t got = n < sizeof a.head - 1 ? recv(fd, a.head + n, 1, 0) : 0;
        EXPECT(got == 1, "no whole answer, but %s after \"%s\"",
               got < 0 ? strerror(errno) : "an end", a.head);
    }
    EXPECT(strncmp(a.head, "HTTP/1.1 ", 9) == 0, "no status in \"%s\"", a.head);
    a.status = (int)strtol(a.head + 9, NULL, 10);
    expect_date(a.head);
    EXPECT(has_line(&a, "Server", stage), "no Server in \"%s\"", a.head);
    EXPECT(has_line(&a, "Content-Type", "text/plain; charset=utf-8"), "no type in \"%s\"", a.head);
    const char *length = strstr(a.head, "\r\nContent-Length: ");
    size_t size = length == NULL ? 0 : strtoul(length + 18, NULL, 10);
    EXPECT(size > 0 && size < sizeof a.body, "no length in \"%s\"", a.head);
    if (with_body)
        EXPECT(recv(fd, a.body, size, MSG_WAITALL) == (ssize_t)size, "not the whole body");
    a.closes = has_line(&a, "Connection", "close");
    a.stays = has_line(&a, "Connection", "keep-alive");
    a.allows = has_line(&a, "Allow", "GET, HEAD");
    return a;
}

struct answer expect_ok(int fd, const char *body)
{
    struct answer a = hear(fd, true);

    EXPECT(strncmp(a.head, "HTTP/1.1 200 OK\r\n", 17) == 0, "answers \"%s\"", a.head);
    EXPECT(strcmp(a.body, body) == 0, "answers \"%s\" instead of \"%s\"", a.body, body);
    return a;
}

struct answer expect_fast(int fd)
{
    return expect_ok(fd, "That was fast!");
}

struct answer expect_slow(int fd)
{
    return expect_ok(fd, "That was slow!");
}

struct answer expect_status(int fd, int status)
{
    struct answer a = hear(fd, true);

    EXPECT(a.status == status, "answers %d instead of %d", a.status, status);
    return a;
}

/* The answer says close, and then the connection does. */
void expect_close(int fd, struct answer a)
{
    EXPECT(a.closes, "no Connection: close in \"%s\"", a.head);
    expect_end(fd);
}

void expect_served(void)
{
    int fd = dial_and_say_in_time(GET_FAST);

    expect_fast(fd);
    close(fd);
}

/* Of a server that has served somebody, and so has opened what it opens for itself. */
int descriptors_at_rest(void)
{
    int fd = dial_and_say(GET_FAST_CLOSE);

    expect_close(fd, expect_fast(fd));
    return descriptors();
}

/* front, and length bytes behind it. Valid until the next call. */
const char *filled(const char *front, size_t length)
{
    static char text[2 << 20];
    int n = snprintf(text, sizeof text, "%s", front);

    memset(text + n, 'x', length);
    text[(size_t)n + length] = '\0';
    return text;
}

/* Behind the error the connection goes on or ends, as the answer says. */
void expect_error(const char *request, int status, bool closes)
{
    int fd = dial_and_say(request);
    struct answer a = expect_status(fd, status);

    EXPECT(a.closes == closes, "%d has the wrong Connection", status);
    EXPECT(a.allows == (status == 405), "%d has the wrong Allow", status);
    EXPECT(strtol(a.body, NULL, 10) == status && strchr(a.body, '\n') != NULL, "%d says \"%s\"",
           status, a.body);
    if (!closes) {
        say(fd, GET_FAST_CLOSE);
        expect_fast(fd);
    }
    expect_end(fd);
}

/* Waits until a server that was told to stop does not listen any more. */
void expect_refusal(void)
{
    int fd;

    WAIT_UNTIL((fd = try_dial(0)) < 0 || close(fd) < 0, "still listens");
    EXPECT(errno == ECONNREFUSED || errno == ECONNRESET, "connect: %m");
}

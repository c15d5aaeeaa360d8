/* The state machine of the event-driven stages, turn by turn: a clock that stands still until the
 * test moves it, a watch that only keeps a list, and a kernel that sends no more at once than it is
 * told. Nothing waits. The clients are sockets of this process, so what they send has arrived. */
#include "common/clock.h"
#include "common/connections.h"
#include "common/http.h"
#include "common/net.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

enum { DESCRIPTORS = 512, NOBODY = -1, STUCK = 400 };

#define S       NS_PER_S
#define MS      NS_PER_MS
#define TIMEOUT (10 * S)
#define DELAY   (3 * S)

#define FAST "GET /fast HTTP/1.1\r\nHost: a\r\n\r\n"
#define SLOW "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"
#define LAST "GET /fast HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define NONE "GET /none HTTP/1.1\r\nHost: a\r\n\r\n"

static struct options options = {.name = "test", .delay_ns = DELAY, .timeout_ns = TIMEOUT};
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_length;
static int listener;

static int64_t now_ns;
static enum want wants[DESCRIPTORS];
static int watches;                 /* calls of watch */
static int watch_fails = NOBODY;    /* for this descriptor, unless it is told to stop */
static size_t send_most = SIZE_MAX; /* bytes that the kernel takes at once */
static int64_t recv_takes;          /* time */

static int clients[DESCRIPTORS];
static int client_count, open_before;

static int64_t clock_ns(void)
{
    return now_ns;
}

static bool watch(int fd, enum want was, enum want want)
{
    ck_assert_int_eq(was, wants[fd]);
    ck_assert_int_ne(was, want);
    watches++;
    if (fd == watch_fails && want != WANT_NOTHING)
        return false;
    wants[fd] = want;
    return true;
}

/* Instead of the C library's: short writes are rare, and hardly to be had from a local socket. */
ssize_t send(int fd, const void *bytes, size_t length, int flags)
{
    return sendto(fd, bytes, length < send_most ? length : send_most, flags, NULL, 0);
}

/* A request may come while others are dealt with. */
ssize_t recv(int fd, void *bytes, size_t length, int flags)
{
    now_ns += recv_takes;
    return recvfrom(fd, bytes, length, flags, NULL, NULL);
}

static int count_open(void)
{
    DIR *all = opendir("/proc/self/fd");
    int count = 0;

    ck_assert_ptr_nonnull(all);
    while (readdir(all) != NULL)
        count++;
    closedir(all);
    return count;
}

/* One turn of a stage's loop. Returns how many were ready. */
static int turn(void)
{
    struct pollfd watched[DESCRIPTORS];
    nfds_t count = 0;

    connections_wait_ms();
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        if (wants[fd] != WANT_NOTHING)
            watched[count++] =
                (struct pollfd){.fd = fd, .events = wants[fd] == WANT_READ ? POLLIN : POLLOUT};
    int ready = poll(watched, count, 0);
    ck_assert_int_ge(ready, 0);
    for (nfds_t i = 0; i < count; i++)
        if (watched[i].revents != 0)
            connections_ready(watched[i].fd);
    connections_expire();
    connections_accept();
    return ready;
}

/* Turns until the loop would sleep. A loop that spins never does. */
static void settle(void)
{
    int turns = 0, before, ready;

    do {
        before = watches;
        ready = turn();
        ck_assert_int_lt(++turns, 10000);
    } while (ready > 0 || watches != before || connections_wait_ms() == 0);
}

static void advance_to(int64_t moment_ns)
{
    now_ns = moment_ns;
    settle();
}

static int open_client(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, address_length), 0);
    return clients[client_count++] = fd;
}

static void close_client(int fd)
{
    for (int i = 0; i < client_count; i++)
        if (clients[i] == fd) {
            close(fd);
            clients[i] = clients[--client_count];
        }
}

/* The next descriptor to be opened. */
static int lowest_free(void)
{
    int fd = dup(STDERR_FILENO);

    ck_assert_int_ge(fd, 0);
    close(fd);
    return fd;
}

/* Returns how many bytes the socket took. */
static size_t say(int fd, const char *text)
{
    ssize_t n = sendto(fd, text, strlen(text), MSG_NOSIGNAL, NULL, 0);

    return n > 0 ? (size_t)n : 0;
}

/* A client, served up to the point where the loop would sleep. *server is the other end. */
static int client_says(const char *text, int *server)
{
    int fd = open_client(), other = lowest_free(); /* the next accept gets it */

    ck_assert_uint_eq(say(fd, text), strlen(text));
    settle();
    if (server != NULL)
        *server = other;
    return fd;
}

static char heard[1 << 18];
static size_t heard_length;
static const char *heard_end;

/* Returns how much has come. */
static size_t receive(int fd)
{
    size_t before = heard_length;
    ssize_t n;

    while ((n = recv(fd, heard + heard_length, sizeof heard - 1 - heard_length, 0)) > 0)
        heard_length += (size_t)n;
    heard_end = n == 0 ? "EOF " : errno == EAGAIN ? "" : "RESET ";
    return heard_length - before;
}

/* What was received, in words: the content's last, or the status of an error; -close if it says so;
 * then EOF or RESET, if the connection is over. */
static const char *in_words(void)
{
    static char words[1 << 14];
    size_t used = 0, size;
    int status;

    heard[heard_length] = '\0';
    heard_length = 0;
    for (char *head = heard; *head != '\0';) {
        char *content = strstr(head, "\r\n\r\n"), *field = strstr(head, "Content-Length: ");
        if (content == NULL || sscanf(head, "HTTP/1.1 %d ", &status) != 1 || field == NULL ||
            sscanf(field, "Content-Length: %zu", &size) != 1 || strlen(content + 4) < size) {
            used += (size_t)snprintf(words + used, sizeof words - used, "part ");
            break;
        }
        *content = '\0';
        content += 4;
        used += status == 200 ? (size_t)snprintf(words + used, sizeof words - used, "%.4s",
                                                 content + strlen("That was "))
                              : (size_t)snprintf(words + used, sizeof words - used, "%d", status);
        used += (size_t)snprintf(words + used, sizeof words - used, "%s ",
                                 strstr(head, "\r\nConnection: close") ? "-close" : "");
        head = content + size;
    }
    used += (size_t)snprintf(words + used, sizeof words - used, "%s", heard_end);
    words[used > 0 ? used - 1 : 0] = '\0';
    return words;
}

static const char *hear(int fd)
{
    receive(fd);
    return in_words();
}

/* The client reads as long as that makes the server send more. */
static const char *hear_all(int fd)
{
    while (receive(fd) > 0)
        settle();
    return in_words();
}

#define CHECK_HEARS(fd, expected) ck_assert_str_eq(hear(fd), expected)

/* Is it a socket of the server still? */
static bool is_open(int server)
{
    int type;
    socklen_t size = sizeof type;

    return getsockopt(server, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

static int unread(int server)
{
    int bytes = 0;

    ck_assert_int_eq(ioctl(server, FIONREAD, &bytes), 0);
    return bytes;
}

static void start(void)
{
    now_ns = 1000 * S;
    open_before = count_open();
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address_length = sizeof address.sun_family; /* the kernel finds a name (unix(7), autobind) */
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, address_length), 0);
    address_length = sizeof address;
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &address_length), 0);
    ck_assert_int_eq(listen(listener, 256), 0);
    connections_start(&options, listener, watch, clock_ns);
}

/* However a test ends: the clients go, the server is told to, and nothing is left. */
static void stop(void)
{
    while (client_count > 0)
        close_client(clients[0]);
    watch_fails = NOBODY;
    connections_drain();
    for (int i = 0; i < 4 && connections_remain(); i++) {
        settle();
        now_ns += TIMEOUT;
    }
    ck_assert(!connections_remain());
    ck_assert_int_eq(connections_wait_ms(), -1);
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        ck_assert_msg(wants[fd] == WANT_NOTHING, "descriptor %d is watched still", fd);
    ck_assert_int_eq(count_open(), open_before);
}

/* Answers */

START_TEST(first_step_answers_what_is_there_already)
{
    int client = open_client();

    say(client, FAST);
    now_ns += S;
    connections_ready(listener);
    connections_accept();
    CHECK_HEARS(client, "fast");
    ck_assert_int_eq(connections_wait_ms(), TIMEOUT / MS);
}
END_TEST

START_TEST(fast_costs_one_watch_for_a_connection)
{
    int before = watches, client = client_says(FAST, NULL);

    for (int i = 0; i < 10; i++) {
        say(client, FAST);
        settle();
    }
    CHECK_HEARS(client, "fast fast fast fast fast fast fast fast fast fast fast");
    ck_assert_int_eq(watches - before, 1);
}
END_TEST

START_TEST(request_may_come_byte_by_byte)
{
    int client = open_client();

    for (const char *byte = FAST NONE; *byte != '\0'; byte++) {
        say(client, (const char[]){*byte, '\0'});
        settle();
    }
    CHECK_HEARS(client, "fast 404");
}
END_TEST

START_TEST(pipelined_requests_are_answered_in_order)
{
    int client = client_says("\r\n" FAST NONE "\r\n" FAST "GET /fa", NULL);

    CHECK_HEARS(client, "fast 404 fast");
    say(client, "st HTTP/1.0\r\n\r\n");
    settle();
    CHECK_HEARS(client, "fast-close EOF");
}
END_TEST

START_TEST(pipelined_requests_wait_behind_slow)
{
    int client = client_says(FAST SLOW FAST SLOW NONE, NULL);

    CHECK_HEARS(client, "fast");
    advance_to(now_ns + DELAY);
    CHECK_HEARS(client, "slow fast");
    say(client, FAST);
    advance_to(now_ns + DELAY);
    CHECK_HEARS(client, "slow 404 fast");
}
END_TEST

START_TEST(bad_request_behind_a_good_one_gets_its_400)
{
    int client = client_says(FAST "GET /fast\n" FAST, NULL);

    CHECK_HEARS(client, "fast 400-close EOF");
}
END_TEST

START_TEST(close_is_followed_by_nothing)
{
    int server, client = client_says(LAST, &server);

    ck_assert(!is_open(server));
    CHECK_HEARS(client, "fast-close EOF");
    client = client_says(LAST FAST, &server);
    CHECK_HEARS(client, "fast-close EOF");
}
END_TEST

static const struct {
    const char *request, *heard;
} bodies[] = {
    {"POST /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n", "405-close EOF"},
    {"GET /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n", "fast-close EOF"},
    {"GET /fast HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "fast-close EOF"},
};

START_TEST(body_is_no_request)
{
    int server, client = client_says(bodies[_i].request, &server);

    ck_assert(is_open(server)); /* the body, unread, would turn the answer into a reset */
    say(client, FAST);
    settle();
    CHECK_HEARS(client, bodies[_i].heard);
    close_client(client);
    settle();
    ck_assert(!is_open(server));
}
END_TEST

START_TEST(errors_wait_for_nothing)
{
    int client = client_says("PUT /slow HTTP/1.1\r\nHost: a\r\n\r\n" SLOW, NULL);

    CHECK_HEARS(client, "405");
    client = client_says("GET /slow HTTP/1.1\r\n\r\n", NULL);
    CHECK_HEARS(client, "400-close EOF");
}
END_TEST

START_TEST(one_event_reads_once)
{
    static char requests[3 * HTTP_HEAD_MAX + 1];
    static const char begin[] = "GET /fast HTTP/1.1\r\nHost: a\r\nX: ";
    int server, client = client_says("", &server);

    memset(requests, 'a', sizeof requests - 1);
    for (char *request = requests; *request != '\0'; request += HTTP_HEAD_MAX) {
        memcpy(request, begin, strlen(begin));
        memcpy(request + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
    }
    say(client, requests);
    connections_ready(server);
    CHECK_HEARS(client, "fast");
    ck_assert_int_eq(unread(server), 2 * HTTP_HEAD_MAX);
}
END_TEST

START_TEST(one_client_is_accepted_for_each_turn)
{
    int first, second;

    first = open_client();
    second = open_client();
    say(first, FAST);
    say(second, FAST);
    turn();
    CHECK_HEARS(first, "fast");
    CHECK_HEARS(second, "");
    turn();
    CHECK_HEARS(second, "fast");
}
END_TEST

START_TEST(block_sleeps_in_the_step)
{
    options.block = true;
    options.delay_ns = 0;
    int client = client_says(SLOW FAST, NULL);
    CHECK_HEARS(client, "slow fast");
}
END_TEST

/* Short writes */

static const size_t pieces[] = {1, 2, 7, 100, 150, 1000};

START_TEST(short_writes_lose_and_repeat_nothing)
{
    send_most = pieces[_i];
    int client = client_says(FAST NONE FAST "bad\r\n", NULL);
    ck_assert_str_eq(hear_all(client), "fast 404 fast 400-close EOF");
}
END_TEST

/* A client that has sent many requests, /fast and /none by turns, and reads nothing until the
 * server is stuck. The server's end is *server. */
static int open_stuck(int *server)
{
    static char text[STUCK * sizeof FAST] = "";
    int client = client_says("", server);

    ck_assert_int_eq(setsockopt(*server, SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)), 0);
    for (size_t i = 0; i < STUCK; i++)
        memcpy(text + i * strlen(FAST), i % 2 ? NONE : FAST, sizeof FAST);
    ck_assert_uint_eq(say(client, text), STUCK * strlen(FAST));
    settle();
    ck_assert_int_eq(wants[*server], WANT_WRITE);
    return client;
}

START_TEST(stuck_connection_goes_on_when_there_is_room)
{
    char expected[STUCK / 2 * 9];
    int server, client = open_stuck(&server);

    for (size_t i = 0; i < STUCK / 2; i++)
        memcpy(expected + i * 9, "fast 404 ", 9);
    expected[STUCK / 2 * 9 - 1] = '\0';
    ck_assert_str_eq(hear_all(client), expected);
    ck_assert_int_eq(wants[server], WANT_READ);
}
END_TEST

START_TEST(stuck_connection_reads_no_more)
{
    int server, client = open_stuck(&server), before = unread(server);

    ck_assert_int_gt(before, 0);
    for (int i = 0; i < 100; i++) {
        before += (int)say(client, FAST);
        settle();
        ck_assert_int_eq(unread(server), before);
    }
    ck_assert_int_eq(wants[server], WANT_WRITE);
}
END_TEST

/* Deadlines */

START_TEST(idle_connection_is_closed_quietly)
{
    int64_t begin_ns = now_ns;
    int client = client_says("", NULL);

    advance_to(begin_ns + TIMEOUT - 1);
    CHECK_HEARS(client, "");
    advance_to(begin_ns + TIMEOUT);
    CHECK_HEARS(client, "EOF");
}
END_TEST

START_TEST(idle_time_begins_again_behind_an_answer)
{
    int client = client_says("", NULL);

    now_ns += TIMEOUT - 1;
    say(client, FAST);
    settle();
    advance_to(now_ns + TIMEOUT - 1);
    CHECK_HEARS(client, "fast");
    advance_to(now_ns + 1);
    CHECK_HEARS(client, "EOF");
}
END_TEST

START_TEST(idle_time_begins_when_the_answer_has_left)
{
    int server;

    client_says("", &server);
    send_most = 10;
    say(clients[0], FAST);
    connections_ready(server);
    ck_assert_int_eq(wants[server], WANT_WRITE);
    send_most = SIZE_MAX;
    advance_to(now_ns + S);
    ck_assert_int_eq(wants[server], WANT_READ);
    ck_assert_int_eq(connections_wait_ms(), TIMEOUT / MS);
}
END_TEST

START_TEST(empty_lines_do_not_extend_the_idle_time)
{
    int64_t begin_ns = now_ns;
    int client = client_says("\r\n", NULL);

    advance_to(begin_ns + TIMEOUT - 1);
    say(client, "\r\n");
    settle();
    advance_to(begin_ns + TIMEOUT);
    CHECK_HEARS(client, "EOF");
}
END_TEST

START_TEST(head_has_its_time_from_its_first_byte)
{
    int64_t begin_ns = now_ns + TIMEOUT - 1;
    int client = client_says("\r\n", NULL);

    advance_to(begin_ns);
    say(client, "G");
    settle();
    advance_to(begin_ns + 1);
    CHECK_HEARS(client, "");
    for (const char *byte = "ET /fast"; *byte != '\0'; byte++) { /* no byte of these extends it */
        advance_to(now_ns + TIMEOUT / 10);
        say(client, (const char[]){*byte, '\0'});
        settle();
    }
    advance_to(begin_ns + TIMEOUT - 1);
    say(client, " HTTP");
    settle();
    CHECK_HEARS(client, "");
    advance_to(begin_ns + TIMEOUT);
    CHECK_HEARS(client, "408-close EOF");
}
END_TEST

START_TEST(pipelined_part_of_a_head_has_its_time_too)
{
    int client = client_says(FAST "GET", NULL);

    advance_to(now_ns + TIMEOUT - 1);
    CHECK_HEARS(client, "fast");
    advance_to(now_ns + 1);
    CHECK_HEARS(client, "408-close EOF");
}
END_TEST

START_TEST(slow_waits_exactly_the_delay)
{
    int64_t begin_ns = now_ns;
    int client = client_says(SLOW, NULL);

    advance_to(begin_ns + DELAY - 1);
    CHECK_HEARS(client, "");
    advance_to(begin_ns + DELAY);
    CHECK_HEARS(client, "slow");
}
END_TEST

START_TEST(stuck_connection_is_closed_in_the_end)
{
    int64_t begin_ns = now_ns;
    int server;

    open_stuck(&server);
    advance_to(begin_ns + TIMEOUT - 1);
    ck_assert(is_open(server));
    advance_to(begin_ns + TIMEOUT);
    ck_assert(!is_open(server));
}
END_TEST

START_TEST(dripping_reader_does_not_extend_the_time)
{
    int64_t begin_ns = now_ns;
    int server, client = client_says("", &server);
    char byte;

    send_most = 1;
    say(client, FAST);
    connections_ready(server);
    for (int i = 0; i < 9; i++) {
        now_ns += S;
        ck_assert_int_eq(recv(client, &byte, 1, 0), 1);
        turn();
    }
    ck_assert(is_open(server));
    now_ns = begin_ns + TIMEOUT;
    connections_expire();
    ck_assert(!is_open(server));
}
END_TEST

START_TEST(lingering_ends_in_time)
{
    int64_t begin_ns = now_ns, linger_ns = net_linger_ns(&options);
    int server, client = client_says("bad\r\n", &server);

    CHECK_HEARS(client, "400-close EOF");
    ck_assert_int_gt(linger_ns, 0);
    now_ns = begin_ns + linger_ns - 1;
    say(client, "more");
    settle();
    ck_assert(is_open(server));
    advance_to(begin_ns + linger_ns);
    ck_assert(!is_open(server));
}
END_TEST

static const struct {
    const char *text;
    int wait_ms;
} lasting[] = {
    {"", TIMEOUT / MS}, {"\r\n", TIMEOUT / MS}, {"GET", TIMEOUT / MS},
    {SLOW, DELAY / MS}, {FAST, TIMEOUT / MS},   {"bad\r\n", 2000},
};

START_TEST(wait_is_as_long_as_the_state_lasts)
{
    ck_assert_int_eq(connections_wait_ms(), -1);
    client_says(lasting[_i].text, NULL);
    ck_assert_int_eq(connections_wait_ms(), lasting[_i].wait_ms);
}
END_TEST

START_TEST(wait_for_a_stuck_connection)
{
    int server;

    open_stuck(&server);
    ck_assert_int_eq(connections_wait_ms(), TIMEOUT / MS);
}
END_TEST

static const struct {
    int64_t left_ns;
    int wait_ms;
} roundings[] = {{1, 1},        {MS - 1, 1}, {MS, 1}, {MS + 1, 2}, {5 * MS - 1, 5},
                 {2 * S, 2000}, {0, 0},      {-1, 0}, {-5 * S, 0}};

START_TEST(wait_is_rounded_up)
{
    int64_t end_ns = now_ns + DELAY;

    client_says(SLOW, NULL);
    now_ns = end_ns - roundings[_i].left_ns;
    ck_assert_int_eq(connections_wait_ms(), roundings[_i].wait_ms);
}
END_TEST

START_TEST(wait_is_for_the_nearest_of_all)
{
    client_says("", NULL); /* each comes a second later, and ends sooner, but the last */
    now_ns += S;
    client_says("G", NULL);
    ck_assert_int_eq(connections_wait_ms(), 9000);
    client_says(SLOW, NULL);
    ck_assert_int_eq(connections_wait_ms(), 3000);
    now_ns += S / 2;
    client_says("bad\r\n", NULL);
    ck_assert_int_eq(connections_wait_ms(), 2000);
    client_says(SLOW, NULL);
    ck_assert_int_eq(connections_wait_ms(), 2000);
    advance_to(now_ns + 2 * S);
    ck_assert_int_eq(connections_wait_ms(), 500);
    advance_to(now_ns + S / 2);
    ck_assert_int_eq(connections_wait_ms(), 500);
    advance_to(now_ns + S / 2);
    ck_assert_int_eq(connections_wait_ms(), 5500);
}
END_TEST

/* Clients that leave */

START_TEST(without_a_delay_a_sleeper_reads_in_the_next_turn)
{
    int server, client;

    options.delay_ns = 0;
    wants[listener] = WANT_NOTHING;
    connections_start(&options, listener, watch, clock_ns);
    client = client_says("", &server);
    say(client, SLOW "GET");
    connections_ready(server);
    say(client, " /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    connections_expire();
    CHECK_HEARS(client, "slow");
    ck_assert_int_gt(unread(server), 0);
    settle();
    CHECK_HEARS(client, "slow");
}
END_TEST

START_TEST(slow_is_counted_from_when_it_has_arrived)
{
    int server, client = client_says("", &server);

    say(client, SLOW);
    recv_takes = 5 * MS;
    connections_ready(server);
    recv_takes = 0;
    advance_to(now_ns + DELAY - 1);
    CHECK_HEARS(client, "");
    advance_to(now_ns + 1);
    CHECK_HEARS(client, "slow");
}
END_TEST

START_TEST(sleeping_connection_wants_nothing)
{
    int server, kept, client = client_says(SLOW, &server);

    ck_assert_int_eq(wants[server], WANT_NOTHING);
    client_says(FAST, &kept);
    ck_assert_int_eq(wants[kept], WANT_READ);
    say(clients[1], SLOW);
    settle();
    ck_assert_int_eq(wants[kept], WANT_NOTHING);
    say(client, FAST);
    connections_ready(server); /* an event from before */
    CHECK_HEARS(client, "");
    advance_to(now_ns + DELAY);
    CHECK_HEARS(client, "slow fast");
    ck_assert_int_eq(wants[server], WANT_READ);
}
END_TEST

START_TEST(half_close_during_slow_gets_its_answer)
{
    int server, client = client_says(SLOW, &server);

    shutdown(client, SHUT_WR);
    settle();
    ck_assert(is_open(server));
    advance_to(now_ns + DELAY);
    CHECK_HEARS(client, "slow EOF");
    ck_assert(!is_open(server));
}
END_TEST

START_TEST(half_close_behind_a_request_gets_its_answer)
{
    int client = open_client();

    say(client, FAST NONE);
    shutdown(client, SHUT_WR);
    settle();
    CHECK_HEARS(client, "fast 404 EOF");
}
END_TEST

static const char *const ended[] = {"", "\r\n", "GET /fast", FAST, FAST "GET"};

START_TEST(end_of_input_ends_the_connection)
{
    int server, client = client_says(ended[_i], &server);

    shutdown(client, SHUT_WR);
    settle();
    ck_assert(!is_open(server));
    CHECK_HEARS(client, _i < 3 ? "EOF" : "fast EOF");
}
END_TEST

/* A client that closes with unread input resets the connection (unix(7)); here FAST sees to that,
 * by its answer. */
static const char *const reset[] = {"", "GET /fast", FAST, FAST "GET", "bad\r\n"};

START_TEST(reset_ends_the_connection)
{
    int server, client = client_says(reset[_i], &server);

    close_client(client);
    settle();
    ck_assert(!is_open(server));
}
END_TEST

START_TEST(reset_during_slow_spins_nothing)
{
    int server, other = client_says(FAST, NULL), client = client_says(FAST SLOW, &server);

    close_client(client);
    settle();
    ck_assert_int_eq(wants[server], WANT_NOTHING);
    ck_assert_int_eq(connections_wait_ms(), DELAY / MS);
    advance_to(now_ns + DELAY);
    ck_assert(!is_open(server));
    say(other, FAST);
    settle();
    CHECK_HEARS(other, "fast fast");
}
END_TEST

START_TEST(reset_while_writing_ends_the_connection)
{
    int server, client = open_stuck(&server);

    close_client(client);
    settle();
    ck_assert(!is_open(server));
}
END_TEST

START_TEST(lingering_drops_what_follows_an_error)
{
    int server, client = client_says("bad\r\n" FAST, &server);

    CHECK_HEARS(client, "400-close EOF");
    for (int i = 0; i < 100; i++) {
        ck_assert_uint_eq(say(client, SLOW FAST), strlen(SLOW FAST));
        settle();
        ck_assert_int_eq(unread(server), 0);
    }
    CHECK_HEARS(client, "EOF");
    ck_assert(is_open(server));
    shutdown(client, SHUT_WR);
    settle();
    ck_assert(!is_open(server));
}
END_TEST

START_TEST(lingering_drops_not_without_end)
{
    static char text[HTTP_HEAD_MAX + 1];
    int server, client = client_says("bad\r\n", &server);
    size_t dropped = 0;

    memset(text, 'a', sizeof text - 1);
    while (is_open(server)) {
        dropped += say(client, text);
        settle();
        ck_assert_uint_le(dropped, NET_LINGER_BYTES + sizeof text);
    }
    ck_assert_uint_ge(dropped, NET_LINGER_BYTES);
}
END_TEST

/* Going away */

START_TEST(drain_closes_who_is_idle)
{
    int fresh = client_says("", NULL), kept = client_says(FAST, NULL),
        empty = client_says(FAST "\r\n", NULL);

    connections_drain();
    CHECK_HEARS(fresh, "EOF");
    CHECK_HEARS(kept, "fast EOF");
    CHECK_HEARS(empty, "fast EOF");
    settle();
    ck_assert(!connections_remain());
}
END_TEST

START_TEST(drain_answers_a_request_that_is_there)
{
    int client = client_says(FAST, NULL);

    say(client, FAST FAST);
    connections_drain();
    settle();
    CHECK_HEARS(client, "fast fast-close EOF");
}
END_TEST

START_TEST(drain_answers_slow_when_it_is_due)
{
    int client = client_says(SLOW FAST, NULL), late = client_says("", NULL);

    now_ns += S;
    say(late, SLOW);
    connections_drain();
    settle();
    advance_to(now_ns + DELAY - 1);
    CHECK_HEARS(client, "slow-close EOF");
    CHECK_HEARS(late, "");
    ck_assert(connections_remain());
    advance_to(now_ns + 1);
    CHECK_HEARS(late, "slow-close EOF");
}
END_TEST

START_TEST(drain_lets_a_head_come_to_its_end)
{
    int client = client_says("GET /fast HTTP/1.1\r\n", NULL), late = client_says("", NULL),
        never = client_says("GET", NULL);

    say(late, "GET /slow HTTP/1.1\r\n");
    connections_drain();
    settle();
    now_ns += S;
    say(client, "Host: a\r\n\r\n");
    say(late, "Host: a\r\n\r\n");
    settle();
    CHECK_HEARS(client, "fast-close EOF");
    advance_to(now_ns + DELAY);
    CHECK_HEARS(late, "slow-close EOF");
    ck_assert(connections_remain());
    advance_to(now_ns + TIMEOUT);
    CHECK_HEARS(never, "408-close EOF");
    close_client(never);
    settle();
    ck_assert(!connections_remain());
}
END_TEST

START_TEST(drain_lets_a_stuck_answer_come_to_its_end)
{
    int server, client = open_stuck(&server);
    const char *words;

    connections_drain();
    settle();
    ck_assert(is_open(server));
    words = hear_all(client); /* some that were ready before, and one that says close */
    ck_assert_ptr_null(strstr(words, "part"));
    ck_assert_ptr_nonnull(strstr(words, "-close EOF"));
    ck_assert_ptr_eq(strstr(words, "-close"), strstr(words, "-close EOF"));
}
END_TEST

START_TEST(drain_serves_who_is_in_the_queue)
{
    int all[100];

    for (int i = 0; i < 100; i++) {
        all[i] = open_client();
        say(all[i], i % 2 ? SLOW : FAST);
    }
    connections_drain();
    connections_drain(); /* once for each turn, in a stage */
    settle();
    for (int i = 0; i < 100; i += 2)
        CHECK_HEARS(all[i], "fast-close EOF");
    advance_to(now_ns + DELAY);
    for (int i = 1; i < 100; i += 2)
        CHECK_HEARS(all[i], "slow-close EOF");
    ck_assert(!connections_remain());
}
END_TEST

/* It had not been told that the server will close: it is closed all the same, when it has read. */
START_TEST(drain_closes_who_reads_at_last)
{
    int client = client_says("", NULL);

    send_most = 100;
    say(client, FAST);
    turn();
    connections_drain();
    send_most = SIZE_MAX;
    settle();
    CHECK_HEARS(client, "fast EOF");
    ck_assert(!connections_remain());
}
END_TEST

/* Who came before the signal is served; who has come since need not be, or it would never end. */
START_TEST(drain_ends_though_clients_keep_coming)
{
    int turns = 0;

    connections_drain();
    while (connections_remain()) {
        int fd = open_client();
        turn();
        close_client(fd);
        ck_assert_int_le(++turns, SOMAXCONN + 1);
    }
    ck_assert_int_eq(turns, SOMAXCONN + 1);
    ck_assert(!is_open(listener));
}
END_TEST

START_TEST(drain_closes_the_listener)
{
    ck_assert(connections_remain());
    connections_drain();
    ck_assert(connections_remain());
    settle();
    ck_assert(!is_open(listener));
    ck_assert_int_eq(wants[listener], WANT_NOTHING);
    ck_assert(!connections_remain());
    connections_drain();
    settle();
}
END_TEST

/* Running out */

static void limit_descriptors(int most)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)most;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Returns a client that the process has no descriptor for; *served is one that got the last. */
static int run_out(int *served)
{
    int first = open_client(), second = open_client();

    say(first, FAST);
    say(second, FAST);
    limit_descriptors(lowest_free() + 1);
    settle();
    CHECK_HEARS(first, "fast");
    CHECK_HEARS(second, "");
    ck_assert_int_eq(wants[listener], WANT_NOTHING);
    ck_assert_int_eq(connections_wait_ms(), 1000);
    *served = first;
    return second;
}

START_TEST(out_of_descriptors_goes_on_when_one_is_closed)
{
    int served, waits = run_out(&served);

    say(served, LAST);
    settle();
    CHECK_HEARS(waits, "fast");
    CHECK_HEARS(served, "fast-close EOF");
}
END_TEST

START_TEST(out_of_descriptors_goes_on_after_a_second)
{
    int served, waits = run_out(&served), before = watches;

    advance_to(now_ns + S); /* to no avail: none is free */
    CHECK_HEARS(waits, "");
    ck_assert_int_eq(watches - before, 2);
    ck_assert_int_eq(wants[listener], WANT_NOTHING);
    ck_assert_int_eq(connections_wait_ms(), 1000);
    limit_descriptors(DESCRIPTORS);
    advance_to(now_ns + S - 1);
    CHECK_HEARS(waits, "");
    advance_to(now_ns + 1);
    CHECK_HEARS(waits, "fast");
    ck_assert_int_eq(wants[listener], WANT_READ);
}
END_TEST

START_TEST(out_of_descriptors_disturbs_nobody)
{
    int served, waits = run_out(&served);

    say(served, SLOW);
    settle();
    ck_assert_int_eq(connections_wait_ms(), 1000);
    advance_to(now_ns + DELAY);
    CHECK_HEARS(served, "slow");
    CHECK_HEARS(waits, "");
}
END_TEST

START_TEST(out_of_descriptors_while_draining)
{
    int served, waits = run_out(&served);

    connections_drain(); /* closes served, which was idle */
    settle();
    CHECK_HEARS(waits, "fast-close EOF");
    limit_descriptors(DESCRIPTORS);
    advance_to(now_ns + S);
    ck_assert(!connections_remain());
}
END_TEST

START_TEST(unwatchable_client_is_closed_alone)
{
    int other = client_says(FAST, NULL), server;

    watch_fails = lowest_free() + 1; /* the number before is the client's own */
    int client = client_says("", &server);
    ck_assert_int_eq(server, watch_fails);
    CHECK_HEARS(client, "EOF");
    watch_fails = NOBODY;
    say(other, FAST);
    settle();
    CHECK_HEARS(other, "fast fast");
}
END_TEST

START_TEST(unwatchable_writer_is_closed)
{
    int server, client = client_says("", &server);

    watch_fails = server;
    send_most = 10;
    say(client, FAST);
    settle();
    CHECK_HEARS(client, "part EOF");
}
END_TEST

START_TEST(unwatchable_listener_is_tried_again)
{
    int served, waits = run_out(&served);

    watch_fails = listener;
    say(served, LAST);
    settle();
    CHECK_HEARS(waits, "");
    ck_assert_int_eq(connections_wait_ms(), 1000);
    advance_to(now_ns + S);
    CHECK_HEARS(waits, "");
    ck_assert_int_eq(connections_wait_ms(), 1000);
    watch_fails = NOBODY;
    limit_descriptors(DESCRIPTORS);
    advance_to(now_ns + S);
    CHECK_HEARS(waits, "fast");
    ck_assert_int_eq(wants[listener], WANT_READ);
}
END_TEST

START_TEST(unwatchable_listener_ends_the_start)
{
    watch_fails = listener;
    wants[listener] = WANT_NOTHING;
    ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
    connections_start(&options, listener, watch, clock_ns);
}
END_TEST

static const char *const unwatched[] = {"", "GET", "bad\r\n", FAST};

START_TEST(unwatched_connection_is_closed)
{
    int server, client = client_says(unwatched[_i], &server);

    wants[server] = WANT_NOTHING;
    connections_unwatched(server);
    ck_assert(!is_open(server));
    hear(client);
    settle();
    connections_unwatched(server); /* nobody is there any more */
}
END_TEST

START_TEST(unwatched_listener_is_watched_again)
{
    turn(); /* the step that is under way */
    wants[listener] = WANT_NOTHING;
    connections_unwatched(listener);
    int client = client_says(FAST, NULL);
    CHECK_HEARS(client, "");
    ck_assert_int_eq(connections_wait_ms(), 1000);
    advance_to(now_ns + S);
    CHECK_HEARS(client, "fast");
    ck_assert_int_eq(wants[listener], WANT_READ);
}
END_TEST

START_TEST(stale_events_are_harmless)
{
    int server, client = client_says(LAST, &server);

    ck_assert(!is_open(server));
    connections_ready(server);
    connections_ready(client); /* open, but not ours */
    connections_ready(DESCRIPTORS - 1);
    connections_ready(1 << 30);
    CHECK_HEARS(client, "fast-close EOF");
}
END_TEST

START_TEST(closed_number_may_come_back)
{
    int first, second, client = client_says(LAST, &first);

    close_client(client);
    client = open_client(); /* gets the client's number, so the server's comes back, too */
    say(client, "GET");
    settle();
    second = first;
    ck_assert_int_eq(wants[second], WANT_READ);
    say(client, " /fast HTTP/1.0\r\n\r\n");
    settle();
    CHECK_HEARS(client, "fast-close EOF");
}
END_TEST

START_TEST(drained_slow_is_not_reset)
{
    int client = client_says(SLOW, NULL);

    say(client, FAST);
    connections_drain();
    advance_to(now_ns + DELAY);
    CHECK_HEARS(client, "slow-close EOF");
}
END_TEST

START_TEST(close_behind_slow_is_not_reset)
{
    int client = client_says("GET /slow HTTP/1.0\r\n\r\n", NULL);

    say(client, "\r\n");
    advance_to(now_ns + DELAY);
    CHECK_HEARS(client, "slow-close EOF");
}
END_TEST

START_TEST(drain_of_a_long_pipeline_is_not_reset)
{
    static char text[HTTP_HEAD_MAX + 2] = "GET /fast HTTP/1.1\r\nHost: a\r\nX: ";
    int client = client_says("", NULL);

    memset(text + strlen(text), 'x', HTTP_HEAD_MAX - strlen(text) - 4);
    strcat(text, "\r\n\r\nG"); /* the last byte stays in the socket */
    say(client, text);
    connections_drain();
    settle();
    CHECK_HEARS(client, "fast-close EOF");
}
END_TEST

START_TEST(unwatched_listener_pauses_for_a_second)
{
    turn();
    now_ns += TIMEOUT;
    wants[listener] = WANT_NOTHING;
    connections_unwatched(listener);
    ck_assert_int_eq(connections_wait_ms(), 1000);
}
END_TEST

START_TEST(half_an_empty_line_is_no_request)
{
    int client = client_says("\r", NULL);

    say(client, "\n");
    advance_to(now_ns + TIMEOUT);
    CHECK_HEARS(client, "EOF");
}
END_TEST

START_TEST(half_an_empty_line_does_not_extend_the_idle_time)
{
    int64_t begin_ns = now_ns;
    int client = client_says("", NULL);

    advance_to(begin_ns + TIMEOUT - 1);
    say(client, "\r");
    settle();
    say(client, "\n");
    settle();
    advance_to(begin_ns + TIMEOUT);
    CHECK_HEARS(client, "EOF");
}
END_TEST

/* With --block, or when more are ready than a batch holds. */
START_TEST(request_that_came_while_the_loop_was_busy_is_answered)
{
    int idle = client_says("", NULL), reading = client_says("GET", NULL);

    now_ns += TIMEOUT; /* the loop is in another connection's step */
    say(idle, FAST);
    say(reading, " /fast HTTP/1.1\r\nHost: a\r\n\r\n");
    connections_expire();
    settle();
    CHECK_HEARS(reading, "fast");
    CHECK_HEARS(idle, "fast");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("connections");
    TCase *tests;

    tests = tcase_create("answers");
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_test(tests, first_step_answers_what_is_there_already);
    tcase_add_test(tests, fast_costs_one_watch_for_a_connection);
    tcase_add_test(tests, request_may_come_byte_by_byte);
    tcase_add_test(tests, pipelined_requests_are_answered_in_order);
    tcase_add_test(tests, pipelined_requests_wait_behind_slow);
    tcase_add_test(tests, bad_request_behind_a_good_one_gets_its_400);
    tcase_add_test(tests, close_is_followed_by_nothing);
    tcase_add_loop_test(tests, body_is_no_request, 0, COUNT(bodies));
    tcase_add_test(tests, errors_wait_for_nothing);
    tcase_add_test(tests, one_event_reads_once);
    tcase_add_test(tests, one_client_is_accepted_for_each_turn);
    tcase_add_test(tests, block_sleeps_in_the_step);
    suite_add_tcase(suite, tests);

    tests = tcase_create("short writes");
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_loop_test(tests, short_writes_lose_and_repeat_nothing, 0, COUNT(pieces));
    tcase_add_test(tests, stuck_connection_goes_on_when_there_is_room);
    tcase_add_test(tests, stuck_connection_reads_no_more);
    suite_add_tcase(suite, tests);

    tests = tcase_create("deadlines");
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_test(tests, idle_connection_is_closed_quietly);
    tcase_add_test(tests, idle_time_begins_again_behind_an_answer);
    tcase_add_test(tests, idle_time_begins_when_the_answer_has_left);
    tcase_add_test(tests, empty_lines_do_not_extend_the_idle_time);
    tcase_add_test(tests, head_has_its_time_from_its_first_byte);
    tcase_add_test(tests, pipelined_part_of_a_head_has_its_time_too);
    tcase_add_test(tests, slow_waits_exactly_the_delay);
    tcase_add_test(tests, slow_is_counted_from_when_it_has_arrived);
    tcase_add_test(tests, without_a_delay_a_sleeper_reads_in_the_next_turn);
    tcase_add_test(tests, stuck_connection_is_closed_in_the_end);
    tcase_add_test(tests, dripping_reader_does_not_extend_the_time);
    tcase_add_test(tests, lingering_ends_in_time);
    tcase_add_loop_test(tests, wait_is_as_long_as_the_state_lasts, 0, COUNT(lasting));
    tcase_add_test(tests, wait_for_a_stuck_connection);
    tcase_add_loop_test(tests, wait_is_rounded_up, 0, COUNT(roundings));
    tcase_add_test(tests, wait_is_for_the_nearest_of_all);
    suite_add_tcase(suite, tests);

    tests = tcase_create("clients that leave");
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_test(tests, sleeping_connection_wants_nothing);
    tcase_add_test(tests, half_close_during_slow_gets_its_answer);
    tcase_add_test(tests, half_close_behind_a_request_gets_its_answer);
    tcase_add_loop_test(tests, end_of_input_ends_the_connection, 0, COUNT(ended));
    tcase_add_loop_test(tests, reset_ends_the_connection, 0, COUNT(reset));
    tcase_add_test(tests, reset_during_slow_spins_nothing);
    tcase_add_test(tests, reset_while_writing_ends_the_connection);
    tcase_add_test(tests, lingering_drops_what_follows_an_error);
    tcase_add_test(tests, lingering_drops_not_without_end);
    suite_add_tcase(suite, tests);

    tests = tcase_create("going away");
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_test(tests, drain_closes_who_is_idle);
    tcase_add_test(tests, drain_answers_a_request_that_is_there);
    tcase_add_test(tests, drain_answers_slow_when_it_is_due);
    tcase_add_test(tests, drain_lets_a_head_come_to_its_end);
    tcase_add_test(tests, drain_lets_a_stuck_answer_come_to_its_end);
    tcase_add_test(tests, drain_serves_who_is_in_the_queue);
    tcase_add_test(tests, drain_closes_who_reads_at_last);
    tcase_add_test(tests, drain_ends_though_clients_keep_coming);
    tcase_add_test(tests, drain_closes_the_listener);
    suite_add_tcase(suite, tests);

    tests = tcase_create("running out");
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_test(tests, out_of_descriptors_goes_on_when_one_is_closed);
    tcase_add_test(tests, out_of_descriptors_goes_on_after_a_second);
    tcase_add_test(tests, out_of_descriptors_disturbs_nobody);
    tcase_add_test(tests, out_of_descriptors_while_draining);
    tcase_add_test(tests, unwatchable_client_is_closed_alone);
    tcase_add_test(tests, unwatchable_writer_is_closed);
    tcase_add_test(tests, unwatchable_listener_is_tried_again);
    tcase_add_exit_test(tests, unwatchable_listener_ends_the_start, 1);
    tcase_add_loop_test(tests, unwatched_connection_is_closed, 0, COUNT(unwatched));
    tcase_add_test(tests, unwatched_listener_is_watched_again);
    tcase_add_test(tests, stale_events_are_harmless);
    tcase_add_test(tests, closed_number_may_come_back);
    tcase_add_test(tests, drained_slow_is_not_reset);
    tcase_add_test(tests, close_behind_slow_is_not_reset);
    tcase_add_test(tests, drain_of_a_long_pipeline_is_not_reset);
    tcase_add_test(tests, unwatched_listener_pauses_for_a_second);
    tcase_add_test(tests, half_an_empty_line_is_no_request);
    tcase_add_test(tests, half_an_empty_line_does_not_extend_the_idle_time);
    tcase_add_test(tests, request_that_came_while_the_loop_was_busy_is_answered);
    suite_add_tcase(suite, tests);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#include "tests/servers/unit/world.h"

#include "common/stop.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

struct world world = {
    .options = {.name = "test", .delay_ns = DELAY, .timeout_ns = TIMEOUT},
    .unwatchable = NO_DESCRIPTOR,
    .unstoppable = NO_DESCRIPTOR,
    .descriptor_limit = INT_MAX,
    .send_limit = SIZE_MAX,
};

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_length;
static int clients[DESCRIPTORS];
static int client_count, open_before;

/* Instead of common/clock.c. */

int64_t clock_now_ns(void)
{
    return world.now_ns;
}

time_t clock_date(void)
{
    return (time_t)(world.now_ns / S);
}

void clock_compute(int64_t duration_ns)
{
    world.now_ns += duration_ns;
}

void clock_sleep_until(int64_t moment_ns)
{
    world.now_ns = moment_ns;
}

static bool watch(int fd, enum want was, enum want want)
{
    ck_assert_int_eq(was, world.watched[fd]);
    ck_assert_int_ne(was, want);
    world.watch_calls++;
    if (fd == (want == WANT_NOTHING ? world.unstoppable : world.unwatchable))
        return false;
    world.watched[fd] = want;
    return true;
}

/* These three replace the C library's functions in the whole program. */

int accept4(int fd, struct sockaddr *peer, socklen_t *size, int flags)
{
    errno = world.accept_errno;
    if (errno == 0 && next_descriptor() >= world.descriptor_limit)
        errno = EMFILE;
    return errno == 0 ? (int)syscall(SYS_accept4, fd, peer, size, flags) : -1;
}

ssize_t send(int fd, const void *bytes, size_t length, int flags)
{
    return sendto(fd, bytes, length < world.send_limit ? length : world.send_limit, flags, NULL, 0);
}

ssize_t recv(int fd, void *bytes, size_t length, int flags)
{
    world.now_ns += world.recv_ns;
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

int next_descriptor(void)
{
    int fd = dup(STDERR_FILENO);

    ck_assert_int_ge(fd, 0);
    close(fd);
    return fd;
}

static void start(void)
{
    world.now_ns = 1000 * S;
    open_before = count_open();
    world.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address_length = sizeof address.sun_family; /* the kernel chooses a name (unix(7), autobind) */
    ck_assert_int_eq(bind(world.listener, (struct sockaddr *)&address, address_length), 0);
    address_length = sizeof address;
    ck_assert_int_eq(getsockname(world.listener, (struct sockaddr *)&address, &address_length), 0);
    ck_assert_int_eq(listen(world.listener, 256), 0);
    connections_start(&world.options, world.listener, watch);
}

void world_restart(void)
{
    world.watched[world.listener] = WANT_NOTHING;
    connections_start(&world.options, world.listener, watch);
}

void world_tell_to_stop(void)
{
    stop_requested = true;
    connections_begin_turn();
}

static void stop(void)
{
    while (client_count > 0)
        client_close(clients[0]);
    world.unwatchable = NO_DESCRIPTOR;
    world.accept_errno = 0;
    world.descriptor_limit = INT_MAX;
    world_tell_to_stop();
    for (int i = 0; i < 4 && connections_remain(); i++) {
        loop_settle();
        world.now_ns += TIMEOUT;
    }
    ck_assert(!connections_remain());
    ck_assert_int_eq(connections_wait_ms(), -1);
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        ck_assert_msg(world.watched[fd] == WANT_NOTHING, "descriptor %d is still watched", fd);
    ck_assert_int_eq(count_open(), open_before);
}

TCase *world_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);

    tcase_add_checked_fixture(tests, start, stop);
    suite_add_tcase(suite, tests);
    return tests;
}

int loop_turn(void)
{
    struct pollfd watched[DESCRIPTORS];
    nfds_t count = 0;

    connections_wait_ms();
    connections_begin_turn();
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        if (world.watched[fd] != WANT_NOTHING)
            watched[count++] = (struct pollfd){
                .fd = fd, .events = world.watched[fd] == WANT_READ ? POLLIN : POLLOUT};
    int ready = poll(watched, count, 0);
    ck_assert_int_ge(ready, 0);
    for (nfds_t i = 0; i < count; i++)
        if (watched[i].revents != 0)
            connections_ready(watched[i].fd);
    connections_expire();
    connections_accept();
    return ready;
}

void loop_settle(void)
{
    int turns = 0, before, ready;

    do {
        before = world.watch_calls;
        ready = loop_turn();
        ck_assert_int_lt(++turns, 10000);
    } while (ready > 0 || world.watch_calls != before || connections_wait_ms() == 0);
}

void loop_settle_at(int64_t moment_ns)
{
    world.now_ns = moment_ns;
    loop_settle();
}

int client_connect(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, address_length), 0);
    return clients[client_count++] = fd;
}

int client_open(const char *text, int *server)
{
    int client = client_connect(), accepted = next_descriptor();

    client_ask(client, text);
    if (server != NULL)
        *server = accepted;
    return client;
}

int client_open_blocked(int *server)
{
    static char text[BLOCKED_REQUESTS * sizeof FAST] = "";
    int client = client_open("", server);

    ck_assert_int_eq(setsockopt(*server, SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)), 0);
    for (size_t i = 0; i < BLOCKED_REQUESTS; i++)
        memcpy(text + i * strlen(FAST), i % 2 ? NONE : FAST, sizeof FAST);
    client_ask(client, text);
    ck_assert_int_eq(world.watched[*server], WANT_WRITE);
    return client;
}

int run_out_of_descriptors(int *served)
{
    int first = client_connect(), second = client_connect();

    client_send(first, FAST);
    client_send(second, FAST);
    world.descriptor_limit = next_descriptor() + 1;
    loop_settle();
    CHECK_RECEIVED(first, "fast");
    CHECK_RECEIVED(second, "");
    ck_assert_int_eq(world.watched[world.listener], WANT_NOTHING);
    ck_assert_int_eq(connections_wait_ms(), 1000);
    *served = first;
    return second;
}

void client_close(int client)
{
    for (int i = 0; i < client_count; i++)
        if (clients[i] == client) {
            close(client);
            clients[i] = clients[--client_count];
        }
}

size_t client_send(int client, const char *text)
{
    ssize_t n = sendto(client, text, strlen(text), MSG_NOSIGNAL, NULL, 0);

    return n > 0 ? (size_t)n : 0;
}

void client_ask(int client, const char *text)
{
    ck_assert_uint_eq(client_send(client, text), strlen(text));
    loop_settle();
}

static struct {
    char bytes[1 << 18];
    size_t length;
    const char *end; /* of the words */
} received;

/* Return how many bytes have arrived. */
static size_t receive(int client)
{
    size_t before = received.length;
    ssize_t n;

    while ((n = recvfrom(client, received.bytes + received.length,
                         sizeof received.bytes - 1 - received.length, 0, NULL, NULL)) > 0)
        received.length += (size_t)n;
    received.end = n == 0 ? "EOF " : errno == EAGAIN ? "" : "RESET ";
    return received.length - before;
}

static const char *in_words(void)
{
    static char words[1 << 14];
    size_t used = 0, size;
    int status;

    received.bytes[received.length] = '\0';
    received.length = 0;
    for (char *head = received.bytes; *head != '\0';) {
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
    used += (size_t)snprintf(words + used, sizeof words - used, "%s", received.end);
    words[used > 0 ? used - 1 : 0] = '\0'; /* instead of the last space */
    return words;
}

const char *client_words(int client)
{
    receive(client);
    return in_words();
}

const char *client_all_words(int client)
{
    while (receive(client) > 0)
        loop_settle();
    return in_words();
}

bool server_is_open(int server)
{
    int type;
    socklen_t size = sizeof type;

    return getsockopt(server, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

int server_unread(int server)
{
    int bytes = 0;

    ck_assert_int_eq(ioctl(server, FIONREAD, &bytes), 0);
    return bytes;
}

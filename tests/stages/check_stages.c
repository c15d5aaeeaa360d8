/* The six servers from outside, over real sockets: each test runs against each stage that it is
 * for. STAGE=05-epoll restricts a run to one stage; without it all six run side by side.
 *
 * The servers are those in the folder of this program, so a sanitizer build tests its own. Order is
 * checked rather than time: what must not have happened yet would take longer (LONG) than any
 * machine needs for a step (PATIENCE_S). Where time itself is the subject, only its lower bound is
 * exact. */
#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 15.0
#define LONG       "30" /* seconds, as an option: longer than that patience */

#define LENGTH(array) (sizeof(array) / sizeof *(array))

enum { BLOCKING, THREADED, SELECT, POLL, EPOLL, LIBEV };

static const char *const stages[] = {"01-blocking", "02-threaded", "03-select",
                                     "04-poll",     "05-epoll",    "06-libev"};

static const char *stage; /* under test */

static struct {
    pid_t pid; /* 0: none runs */
    int port;
    int out, log; /* its stdout and stderr, as files in memory */
} server;

static const char *obituary(void);

/* Ends the test, unless the condition holds: with the stage, what is wrong, and what became of the
 * server. */
#define EXPECT(condition, format, ...)                                                             \
    do                                                                                             \
        if (!(condition))                                                                          \
            ck_abort_msg("%s: " format "%s", stage, ##__VA_ARGS__, obituary());                    \
    while (0)

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void pause_s(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

/* Waits until the condition holds. */
#define WAIT_UNTIL(condition, format, ...)                                                         \
    for (double until_ = now() + PATIENCE_S; !(condition); pause_s(0.002))                         \
    EXPECT(now() < until_, format, ##__VA_ARGS__)

/* What the server has written so far. Valid until the next call. */
static const char *written(int file)
{
    static char text[65536];
    ssize_t n = pread(file, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static const char *obituary(void)
{
    static char text[4096];
    int status, length = 0;

    text[0] = '\0';
    if (server.pid > 0 && waitpid(server.pid, &status, WNOHANG) == server.pid) {
        server.pid = 0;
        length = snprintf(text, sizeof text, "; the server has ended with %s %d",
                          WIFSIGNALED(status) ? "signal" : "status",
                          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    if (server.log > 0 && *written(server.log) != '\0')
        snprintf(text + length, sizeof text - (size_t)length, "; its stderr: %.3000s",
                 written(server.log));
    for (char *c = text; *c != '\0'; c++)
        if ((*c < ' ' && *c != '\n') || *c > '~')
            *c = '?';
    return text;
}

/* Starts the stage's server, which ends when this process does. */
static void spawn(int index, char *const options[])
{
    char path[PATH_MAX] = "", *argv[24] = {path};
    pid_t parent = getpid();

    stage = stages[index];
    EXPECT(readlink("/proc/self/exe", path, sizeof path - 32) > 0, "/proc/self/exe: %m");
    char *name = strrchr(path, '/') + 1;
    snprintf(name, sizeof path - (size_t)(name - path), "%s", stage);
    for (int i = 0; options[i] != NULL; i++)
        argv[i + 1] = options[i];
    EXPECT(access(path, X_OK) == 0, "%s is not built", path);

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no Check, no test; no test, no server */
    server.out = memfd_create("stdout", MFD_CLOEXEC);
    server.log = memfd_create("stderr", MFD_CLOEXEC);
    server.pid = fork();
    EXPECT(server.out > 0 && server.log > 0 && server.pid >= 0, "memfd_create or fork: %m");
    if (server.pid > 0)
        return;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
        dup2(server.out, STDOUT_FILENO) > 0 && dup2(server.log, STDERR_FILENO) > 0)
        execv(path, argv);
    _exit(127);
}

/* Waits for the line that says where the server listens; host as it stands in an URL. */
static void expect_listening(const char *host)
{
    char wanted[128], *end;
    int length = snprintf(wanted, sizeof wanted, "%s: listening on http://%s:", stage, host);

    WAIT_UNTIL(strchr(written(server.out), '\n') != NULL || waitpid(server.pid, NULL, WNOHANG) != 0,
               "says nothing");
    const char *line = written(server.out);
    EXPECT(strncmp(line, wanted, (size_t)length) == 0, "says \"%s\"", line);
    server.port = (int)strtol(line + length, &end, 10);
    EXPECT(strcmp(end, "\n") == 0 && server.port > 0, "says \"%s\"", line);
}

static void start(int index, char *const options[])
{
    spawn(index, options);
    expect_listening("127.0.0.1");
}

#define START(...) start(_i, (char *[]){"--port", "0", ##__VA_ARGS__, NULL})

/* Waits for the end of the server, and returns its status, as waitpid gives it. */
static int end_of_server(void)
{
    int status = 0;

    WAIT_UNTIL(waitpid(server.pid, &status, WNOHANG) != 0, "the server does not end");
    server.pid = 0;
    return status;
}

static void expect_exit(int wanted)
{
    int status = end_of_server();

    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == wanted,
           "wait status %#x instead of exit status %d", (unsigned)status, wanted);
}

/* Releases what a test has started. Check calls it after a test that has not failed; else the
 * server goes with the process of the test. */
static void teardown(void)
{
    if (server.pid > 0) {
        EXPECT(waitpid(server.pid, NULL, WNOHANG) == 0, "the server has ended by itself");
        bool ended = false;
        if (getenv("COVERAGE") != NULL) { /* who is killed does not write what it has reached */
            kill(server.pid, SIGTERM);
            for (int i = 0; i < 50 && !ended; i++) {
                pause_s(0.02);
                ended = waitpid(server.pid, NULL, WNOHANG) != 0;
            }
        }
        if (!ended) {
            kill(server.pid, SIGKILL);
            waitpid(server.pid, NULL, 0);
        }
    }
    if (server.log > 0) {
        close(server.out);
        close(server.log);
    }
    memset(&server, 0, sizeof server);
}

/* Has the running server run out of something soon. */
static void limit(int resource, rlim_t most)
{
    EXPECT(prlimit(server.pid, (enum __rlimit_resource)resource, &(struct rlimit){most, most},
                   NULL) == 0,
           "prlimit: %m");
}

/* What the server's /proc/PID/status says behind the name. Valid until the next call. */
static const char *status_of(const char *name)
{
    static char line[256];
    const char *found = NULL;

    snprintf(line, sizeof line, "/proc/%d/status", server.pid);
    FILE *file = fopen(line, "r");
    if (file == NULL)
        ck_abort_msg("%s: %s: %m", stage, line);
    while (found == NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            found = line + strlen(name);
    fclose(file);
    return found != NULL ? found : "";
}

static long kib(const char *name)
{
    return strtol(status_of(name), NULL, 10);
}

/* Processor time that the server has used, in seconds. */
static double cpu_s(void)
{
    char line[1024];
    double ticks = 0;

    snprintf(line, sizeof line, "/proc/%d/stat", server.pid);
    FILE *file = fopen(line, "r");
    if (file == NULL || fgets(line, sizeof line, file) == NULL)
        ck_abort_msg("%s: %s: %m", stage, line);
    fclose(file);
    char *rest = strrchr(line, ')'), *field;
    for (int i = 2; (field = strsep(&rest, " ")) != NULL; i++) /* as proc(5) numbers them */
        if (i == 14 || i == 15)                                /* in user mode, and in the kernel */
            ticks += strtod(field, NULL);
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

/* A server that has nothing to do uses next to nothing, as soon as it has done what there was; one
 * that spins uses all that it can get. */
static void expect_no_spin(double seconds)
{
    double used = seconds;

    for (int again = 0; again < 10 && used > seconds / 5; again++) {
        double before = cpu_s();
        pause_s(seconds);
        used = cpu_s() - before;
    }
    EXPECT(used <= seconds / 5, "spins: %.2f s of processor time in %.2f s", used, seconds);
}

static int descriptors(void)
{
    char name[64];
    int count = 0;

    snprintf(name, sizeof name, "/proc/%d/fd", server.pid);
    DIR *directory = opendir(name);
    EXPECT(directory != NULL, "%s: %m", name);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static void expect_descriptors(int wanted)
{
    int count;

    WAIT_UNTIL((count = descriptors()) == wanted, "%d descriptors instead of %d", count, wanted);
}

#define REQUEST(method, path, fields)                                                              \
    method " " path " HTTP/1.1\r\nHost: example.org\r\n" fields "\r\n"
#define GET_FAST       REQUEST("GET", "/fast", "")
#define GET_SLOW       REQUEST("GET", "/slow", "")
#define GET_FAST_CLOSE REQUEST("GET", "/fast", "Connection: close\r\n")
#define GET_SLOW_CLOSE REQUEST("GET", "/slow", "Connection: close\r\n")

/* Returns a connection, or -1 with errno; a receive_buffer of 0 is the kernel's choice. */
static int try_dial(int receive_buffer)
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

static int dial(void)
{
    int fd = try_dial(0);

    EXPECT(fd >= 0, "connect: %m");
    return fd;
}

static void say_bytes(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        EXPECT(n > 0, "send, with %zu bytes to go: %m", length);
        bytes += n;
        length -= (size_t)n;
    }
}

static void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

static int dial_and_say(const char *text)
{
    int fd = dial();

    say(fd, text);
    return fd;
}

/* The same for a server whose --timeout is short: however slow this machine is, the client isn't.
 */
static int dial_and_say_in_time(const char *text)
{
    for (;;) {
        double since = now();
        int fd = dial_and_say(text);
        if (now() - since < 0.2)
            return fd;
        close(fd);
    }
}

static void half_close(int fd)
{
    shutdown(fd, SHUT_WR);
}

static void reset(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(fd);
}

/* Is there nothing to read yet, neither an answer nor an end? */
static bool silent(int fd)
{
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 0;
}

static void expect_end(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);

    EXPECT(n == 0, "the connection should end here, but: %s", n > 0 ? "a byte" : strerror(errno));
    close(fd);
}

struct answer {
    int status;
    bool closes, stays; /* Connection says close, or keep-alive */
    bool allows;        /* Allow says GET, HEAD */
    char head[1024], body[256];
};

static bool has_line(const struct answer *a, const char *name, const char *value)
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
static struct answer hear(int fd, bool with_body)
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

static struct answer expect_ok(int fd, const char *body)
{
    struct answer a = hear(fd, true);

    EXPECT(strncmp(a.head, "HTTP/1.1 200 OK\r\n", 17) == 0, "answers \"%s\"", a.head);
    EXPECT(strcmp(a.body, body) == 0, "answers \"%s\" instead of \"%s\"", a.body, body);
    return a;
}

static struct answer expect_fast(int fd)
{
    return expect_ok(fd, "That was fast!");
}

static struct answer expect_slow(int fd)
{
    return expect_ok(fd, "That was slow!");
}

static struct answer expect_status(int fd, int status)
{
    struct answer a = hear(fd, true);

    EXPECT(a.status == status, "answers %d instead of %d", a.status, status);
    return a;
}

/* The answer says close, and then the connection does. */
static void expect_close(int fd, struct answer a)
{
    EXPECT(a.closes, "no Connection: close in \"%s\"", a.head);
    expect_end(fd);
}

static void expect_served(void)
{
    int fd = dial_and_say_in_time(GET_FAST);

    expect_fast(fd);
    close(fd);
}

/* Of a server that has served somebody, and so has opened what it opens for itself. */
static int descriptors_at_rest(void)
{
    int fd = dial_and_say(GET_FAST_CLOSE);

    expect_close(fd, expect_fast(fd));
    return descriptors();
}

START_TEST(both_routes_are_answered)
{
    START("--delay", "0.05");
    int fd = dial_and_say(GET_FAST);
    EXPECT(expect_fast(fd).closes == (_i == BLOCKING), "the wrong Connection");
    close(fd);
    fd = dial_and_say(GET_SLOW);
    EXPECT(expect_slow(fd).closes == (_i == BLOCKING), "the wrong Connection");
    close(fd);
    EXPECT(*written(server.log) == '\0', "not silent");
}
END_TEST

START_TEST(slow_is_never_early)
{
    char *const delays[] = {"0.001", "0.0333", "0.2"};

    for (size_t i = 0; i < LENGTH(delays); i++, teardown()) {
        START("--delay", delays[i]);
        for (int again = 0; again < 3; again++) {
            int fd = dial(), busy = _i == BLOCKING ? -1 : dial();
            double asked = now();
            say(fd, GET_SLOW_CLOSE);
            while (busy >= 0 && silent(fd)) { /* a loop that turns may look at its clock too soon */
                say(busy, GET_FAST);
                expect_fast(busy);
            }
            expect_slow(fd);
            double waited = now() - asked;
            EXPECT(waited >= strtod(delays[i], NULL), "/slow took %f of %s s", waited, delays[i]);
            expect_end(fd);
            close(busy);
        }
    }
}
END_TEST

START_TEST(head_is_answered_without_a_body)
{
    START("--delay", "0.2");
    int fd = dial_and_say(REQUEST("HEAD", "/fast", "Connection: close\r\n"));
    EXPECT(hear(fd, false).status == 200, "no 200");
    expect_end(fd);

    fd = dial();
    double asked = now();
    say(fd, REQUEST("HEAD", "/slow", "Connection: close\r\n"));
    EXPECT(hear(fd, false).status == 200, "no 200");
    EXPECT(now() - asked >= 0.2, "HEAD /slow did not wait");
    expect_end(fd);
}
END_TEST

START_TEST(fast_overtakes_slow)
{
    START("--delay", LONG);
    int slow = dial_and_say(GET_SLOW);
    expect_served();
    EXPECT(silent(slow), "/slow is answered too early");
}
END_TEST

START_TEST(fast_waits_behind_slow)
{
    START("--delay", "0.3", _i == BLOCKING ? NULL : "--block");
    int slow = dial();
    double asked = now();
    say(slow, GET_SLOW);
    expect_served();
    EXPECT(now() - asked >= 0.3 && !silent(slow), "/fast has overtaken /slow");
    expect_slow(slow);
}
END_TEST

START_TEST(slow_ones_wait_together)
{
    int fds[30];

    START("--delay", "0.5");
    double asked = now();
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_SLOW);
    for (size_t i = 0; i < LENGTH(fds); i++)
        expect_slow(fds[i]);
    EXPECT(now() - asked < 7.5, "they took %f s", now() - asked);
}
END_TEST

START_TEST(a_connection_is_kept_alive)
{
    START("--delay", "0.05");
    int fd = dial_and_say(GET_FAST);
    expect_fast(fd);
    say(fd, GET_SLOW);
    expect_slow(fd);
    say(fd, REQUEST("GET", "/nowhere", ""));
    EXPECT(!expect_status(fd, 404).closes, "404 closes");
    say(fd, "\r\n" GET_FAST_CLOSE);
    expect_close(fd, expect_fast(fd));
}
END_TEST

START_TEST(the_blocking_server_keeps_no_connection)
{
    static const char *const requests[] = {GET_FAST, GET_SLOW,
                                           REQUEST("GET", "/fast", "Connection: keep-alive\r\n"),
                                           REQUEST("GET", "/nowhere", "")};

    START("--delay", "0.05");
    for (size_t i = 0; i < LENGTH(requests); i++) {
        int fd = dial_and_say(requests[i]);
        expect_close(fd, hear(fd, true));
    }
}
END_TEST

START_TEST(http_1_0_closes_unless_told_otherwise)
{
    START();
    int fd = dial_and_say("GET /fast HTTP/1.0\r\n\r\n");
    expect_close(fd, expect_fast(fd));

    fd = dial_and_say("GET /fast HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    struct answer a = expect_fast(fd);
    EXPECT(a.stays == (_i != BLOCKING), "the wrong Connection in \"%s\"", a.head);
    if (a.stays) {
        say(fd, "GET /fast HTTP/1.0\r\n\r\n");
        a = expect_fast(fd);
    }
    expect_close(fd, a);
}
END_TEST

START_TEST(connection_close_is_honoured)
{
    START("--delay", "0.05");
    int fd = dial_and_say(GET_FAST_CLOSE);
    expect_close(fd, expect_fast(fd));
    /* what comes behind is not answered, and does no harm */
    fd = dial_and_say(REQUEST("GET", "/slow", "Connection: x, CLOSE\r\n") GET_FAST);
    expect_close(fd, expect_slow(fd));
}
END_TEST

START_TEST(pipelined_requests_are_answered_in_order)
{
    START("--delay", "0.1");
    int fd = dial();
    double asked = now();
    say(fd, GET_FAST GET_SLOW GET_FAST REQUEST("HEAD", "/slow", "") REQUEST("GET", "/x", "")
                GET_SLOW GET_FAST);
    expect_fast(fd);
    expect_slow(fd);
    expect_fast(fd);
    EXPECT(hear(fd, false).status == 200, "no 200");
    expect_status(fd, 404);
    expect_slow(fd);
    expect_fast(fd);
    EXPECT(now() - asked >= 0.3, "three /slow have not waited one after the other");
    EXPECT(silent(fd), "more than was asked for");
}
END_TEST

START_TEST(a_bad_request_behind_a_good_one_gets_its_own_answer)
{
    START("--delay", "0.1");
    int fd = dial_and_say(GET_FAST GET_SLOW "GET /fast\r\n\r\n" GET_FAST);
    expect_fast(fd);
    expect_slow(fd);
    expect_close(fd, expect_status(fd, 400));
}
END_TEST

START_TEST(a_request_may_come_in_pieces)
{
    static const char text[] = GET_FAST_CLOSE;
    size_t length = strlen(text);

    START();
    for (size_t piece = 1; piece < length; piece++) {
        int fd = dial();
        for (size_t at = 0; at < length; at += piece) {
            say_bytes(fd, text + at, length - at < piece ? length - at : piece);
            pause_s(piece == 1 ? 0.002 : 0.0001); /* else they would be read as one */
        }
        expect_close(fd, expect_fast(fd));
    }
}
END_TEST

/* front, and length bytes behind it. Valid until the next call. */
static const char *filled(const char *front, size_t length)
{
    static char text[2 << 20];
    int n = snprintf(text, sizeof text, "%s", front);

    memset(text + n, 'x', length);
    text[(size_t)n + length] = '\0';
    return text;
}

/* Behind the error the connection goes on or ends, as the answer says. */
static void expect_error(const char *request, int status, bool closes)
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

START_TEST(errors_have_their_status)
{
    bool closes = _i == BLOCKING;

    START("--delay", LONG);
    expect_error("GET /fast HTTP/1.1\r\n\r\n", 400, true); /* no Host */
    expect_error("GET /fast HTTP/1.1\n", 400, true);
    expect_error("\x16\x03\x01\x02\x01", 400, true); /* TLS */
    expect_error(REQUEST("GET", "/nowhere", ""), 404, closes);
    expect_error(REQUEST("POST", "/slow", ""), 405, closes);
    expect_error(REQUEST("DELETE", "/fast", "Connection: close\r\n"), 405, true);
    expect_error(filled("GET /", 8192), 414, true);
    expect_error(filled("GET /fast HTTP/1.1\r\nHost: h\r\nX: ", 8192), 431, true);
    expect_error(REQUEST("BREW", "/slow", ""), 501, closes);
    expect_error("GET /fast HTTP/2.0\r\nHost: h\r\n\r\n", 505, true);
}
END_TEST

/* Closing with unread input would be a reset, which may overtake the answer. */
START_TEST(an_error_is_read_in_full_whatever_was_sent)
{
    START();
    expect_error(filled("GET /fast HTTP/1.1\r\nX: ", 1 << 20), 431, true);
    expect_error(filled("GET /", 1 << 20), 414, true);
    expect_error(filled(REQUEST("POST", "/fast", "Content-Length: 102400\r\n"), 102400), 405, true);
    expect_error(filled("?\r\n", 102400), 400, true);
    expect_served();
}
END_TEST

START_TEST(a_body_is_never_read_as_a_request)
{
    START("--delay", LONG);
    expect_error(REQUEST("POST", "/fast", "Content-Length: 47\r\n") GET_SLOW, 405, true);
    expect_error(REQUEST("POST", "/fast", "Transfer-Encoding: chunked\r\n") GET_SLOW, 405, true);
    int fd = dial_and_say(REQUEST("GET", "/fast", "Content-Length: 47\r\n") GET_SLOW);
    expect_close(fd, expect_fast(fd));

    fd = dial_and_say(REQUEST("GET", "/fast", "Content-Length: 47\r\n")); /* the body comes later */
    struct answer a = expect_fast(fd);
    say(fd, GET_SLOW);
    pause_s(0.05);
    say(fd, "x"); /* would fail behind a reset */
    expect_close(fd, a);
}
END_TEST

START_TEST(who_has_finished_speaking_is_answered)
{
    START("--delay", "0.1");
    int fd = dial_and_say(GET_FAST);
    half_close(fd);
    expect_fast(fd);
    expect_end(fd);
    fd = dial_and_say(GET_SLOW);
    half_close(fd);
    expect_slow(fd);
    expect_end(fd);
}
END_TEST

START_TEST(who_leaves_in_the_middle_of_a_head_is_let_go)
{
    START("--timeout", LONG);
    int before = descriptors_at_rest();
    int fd = dial_and_say("GET /fast HT");
    half_close(fd);
    expect_end(fd);
    fd = dial();
    half_close(fd);
    expect_end(fd);
    close(dial_and_say("GET /fast HTTP/1.1\r\nHo"));
    close(dial());
    expect_served();
    expect_descriptors(before);
}
END_TEST

START_TEST(resets_neither_end_nor_spin_the_server)
{
    START("--timeout", LONG, "--delay", _i == BLOCKING ? "0.5" : LONG);
    int before = descriptors_at_rest();
    int slow = dial(), closed = dial();
    for (int i = 0; i < 2 && _i != BLOCKING; i++) { /* who was waited for is watched already */
        say(i == 0 ? slow : closed, GET_FAST);
        expect_fast(i == 0 ? slow : closed);
    }
    say(slow, GET_SLOW);
    say(closed, GET_SLOW);
    expect_descriptors(before + (_i == BLOCKING ? 1 : 2));
    pause_s(0.1); /* for the server to have read the requests; all holds if it has not */
    half_close(closed);
    reset(closed);
    reset(slow);
    expect_no_spin(0.3);

    int idle = dial(), half = dial_and_say("GET /fast HT");
    pause_s(0.02);
    reset(idle);
    reset(half);
    reset(dial());
    expect_served();
    expect_no_spin(0.1);
}
END_TEST

START_TEST(an_answer_to_nobody_is_no_signal)
{
    START("--delay", "0.2");
    int before = descriptors_at_rest();
    int fds[] = {dial_and_say(GET_SLOW), dial_and_say(GET_SLOW GET_SLOW), dial_and_say(GET_SLOW)};
    pause_s(0.1);
    half_close(fds[0]); /* a reset behind an end is EPIPE, and a SIGPIPE unless told otherwise */
    reset(fds[0]);
    reset(fds[1]);
    close(fds[2]);
    expect_descriptors(before);
    expect_served();
}
END_TEST

START_TEST(who_says_nothing_is_closed_quietly)
{
    START("--timeout", "0.4");
    for (int i = 0; i < (_i == BLOCKING ? 2 : 3); i++) {
        double since = now();
        int fd = i == 0   ? dial()
                 : i == 1 ? dial_and_say("\r\n") /* an empty line is nothing, too */
                          : dial_and_say_in_time(GET_FAST);
        if (i == 2)
            expect_fast(fd);
        expect_end(fd);
        EXPECT(now() - since > 0.35, "closed after %f of 0.4 s", now() - since);
    }
    expect_served();
}
END_TEST

START_TEST(who_says_nothing_hinders_nobody)
{
    START("--timeout", LONG);
    int nothing = dial(), half = dial_and_say("GET /fast HT");
    expect_served();
    EXPECT(silent(nothing) && silent(half), "closed too early");
    expect_no_spin(0.2);
}
END_TEST

START_TEST(who_says_nothing_owns_the_blocking_server)
{
    START("--timeout", "0.4");
    double since = now();
    int fd = dial();
    expect_served();
    EXPECT(now() - since > 0.35, "served after %f s", now() - since);
    expect_end(fd);
}
END_TEST

START_TEST(a_dripping_head_is_timed_out)
{
    START("--timeout", "0.5");
    int fd = dial_and_say_in_time("GET /fast HTTP/1.1\r\nHost: h\r\nX: ");
    double since = now(), said = since;
    for (; silent(fd); pause_s(0.02)) {
        EXPECT(now() - since < PATIENCE_S, "each byte renews the time-out");
        said = now();
        say(fd, "x");
    }
    EXPECT(now() - since > 0.2, "timed out after %f of 0.5 s", now() - since);
    struct answer a = expect_status(fd, 408);
    if (now() - said < 0.4) /* else the server has lingered long enough */
        expect_close(fd, a);
    expect_served();
}
END_TEST

/* Reads, and returns how many times /fast was answered, until that is as often as wanted. */
static size_t count_fast(int fd, size_t wanted)
{
    static char bytes[65536];
    size_t count = 0;

    for (ssize_t n; count < wanted && (n = recv(fd, bytes, sizeof bytes, 0)) > 0;)
        for (ssize_t i = 0; i < n; i++)
            count += bytes[i] == '!'; /* which stands at its end, and nowhere else */
    return count;
}

START_TEST(who_does_not_read_costs_little)
{
    enum { REQUESTS = 1000, SIZE = sizeof(GET_FAST) - 1, ALL = REQUESTS * SIZE };
    static char requests[ALL];
    size_t sent = 0;
    ssize_t n = 0;

    for (size_t at = 0; at < ALL; at += SIZE)
        memcpy(requests + at, GET_FAST, SIZE);
    START("--timeout", LONG);
    expect_served();
    long before = kib("VmRSS:");

    int fd = try_dial(4096);
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    while (n >= 0 && poll(&writable, 1, 300) > 0) {
        n = send(fd, requests + sent % ALL, ALL - sent % ALL, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        EXPECT(sent < 64 << 20, "still reads, though its answers are not read");
    }
    EXPECT(sent >= ALL, "only %zu bytes could be sent", sent);
    EXPECT(kib("VmRSS:") - before < 8 << 10, "has grown by %ld KiB", kib("VmRSS:") - before);
    expect_served();
    expect_no_spin(0.2);
    if (_i != BLOCKING) { /* and when it does read, it has lost nothing */
        size_t answers = count_fast(fd, sent / SIZE);
        EXPECT(answers == sent / SIZE, "%zu answers to %zu requests", answers, sent / SIZE);
    }
}
END_TEST

START_TEST(out_of_descriptors_clients_wait)
{
    int fds[40];

    START("--timeout", "0.4");
    limit(RLIMIT_NOFILE, 20);
    double cpu = cpu_s(), since = now();
    kill(server.pid, SIGSTOP); /* they are all there before the first is accepted */
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_FAST);
    kill(server.pid, SIGCONT);
    for (size_t i = 0; i < LENGTH(fds); i++) {
        expect_fast(fds[i]);
        expect_end(fds[i]);
    }
    EXPECT(_i == BLOCKING || now() - since > 0.7, "all were served at once: this is no shortage");
    EXPECT(cpu_s() - cpu < 0.1, "spins: %.2f s of processor time", cpu_s() - cpu);
    expect_served();
}
END_TEST

START_TEST(more_clients_than_fit_in_a_set)
{
    int fds[1100];
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = LENGTH(fds) + 100;
    if (files.rlim_max < files.rlim_cur)
        files.rlim_max = files.rlim_cur;
    ck_assert_msg(setrlimit(RLIMIT_NOFILE, &files) == 0, "RLIMIT_NOFILE is too low");

    START("--timeout", "0.6");
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial();
    expect_served();
    for (size_t i = 0; i < LENGTH(fds); i++)
        expect_end(fds[i]);
    expect_served();
}
END_TEST

/* Leaves room for a dozen stacks. */
static void limit_threads(void)
{
    if (kib("VmSize:") < 1 << 30) /* else a sanitizer, which needs terabytes */
        limit(RLIMIT_AS, (rlim_t)(kib("VmSize:") + (100 << 10)) << 10);
}

START_TEST(out_of_threads_clients_wait)
{
    int fds[60];

    START("--delay", "0.1");
    limit_threads();
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_SLOW_CLOSE);
    for (size_t i = 0; i < LENGTH(fds); i++)
        expect_close(fds[i], expect_slow(fds[i]));
    kill(server.pid, SIGTERM);
    expect_exit(0);
}
END_TEST

/* Idle clients have all the threads, and somebody waits for one. */
START_TEST(out_of_threads_a_server_can_be_stopped)
{
    int fds[60];

    START("--timeout", LONG);
    limit_threads();
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_FAST);
    expect_fast(fds[0]);
    pause_s(0.2); /* till the others have theirs; all holds if not */
    kill(server.pid, SIGTERM);
    for (size_t i = 1; i < LENGTH(fds); i++) {
        expect_fast(fds[i]);
        expect_end(fds[i]);
    }
    expect_exit(0);
}
END_TEST

START_TEST(no_descriptor_is_leaked)
{
    static const struct {
        const char *said;
        bool answered;
    } kinds[] = {
        {GET_FAST, true},
        {GET_SLOW, true},
        {GET_FAST_CLOSE, true},
        {"", false},
        {"GET /fa", false},
        {"?\r\n", true},
        {REQUEST("GET", "/x", ""), true},
        {REQUEST("POST", "/fast", "Content-Length: 9\r\n") "x", true},
    };
    enum { HEAR, HALF_CLOSE, RESET, ENDS };

    START("--delay", "0.01", "--timeout", LONG);
    int before = descriptors_at_rest();
    for (size_t i = 0; i < 200; i++) {
        size_t kind = i % LENGTH(kinds), end = i / LENGTH(kinds) % ENDS;
        int fd = dial_and_say(kinds[kind].said);
        if (end == HEAR && kinds[kind].answered)
            hear(fd, true);
        if (end == HALF_CLOSE)
            half_close(fd);
        if (end == RESET)
            reset(fd);
        else
            close(fd);
    }
    expect_served();
    expect_descriptors(before);
}
END_TEST

static const int stop_signals[] = {SIGTERM, SIGINT};

START_TEST(a_server_with_nothing_to_do_stops_at_once)
{
    for (size_t i = 0; i < LENGTH(stop_signals); i++, teardown()) {
        START("--timeout", LONG, "--delay", LONG);
        if (i == 1)
            expect_served();
        kill(server.pid, stop_signals[i]);
        expect_exit(0);
        EXPECT(*written(server.log) == '\0', "not silent");
    }
}
END_TEST

START_TEST(what_is_in_flight_is_answered_before_the_end)
{
    for (size_t i = 0; i < LENGTH(stop_signals); i++, teardown()) {
        START("--timeout", LONG, "--delay", "0.4");
        int before = descriptors_at_rest();
        double asked = now();
        int slow = dial_and_say(GET_SLOW);
        expect_descriptors(before + 1); /* 01 serves nobody that it has not accepted */
        kill(server.pid, stop_signals[i]);
        bool late = now() - asked > 0.3; /* it may have been answered before the signal */
        struct answer a = expect_slow(slow);
        EXPECT(now() - asked >= 0.4, "the signal has cut /slow short");
        EXPECT(a.closes || late, "no Connection: close in \"%s\"", a.head);
        expect_end(slow);
        expect_exit(0);
    }
}
END_TEST

START_TEST(who_is_idle_is_closed_at_the_signal)
{
    START("--timeout", LONG);
    int before = descriptors_at_rest();
    int idle = dial();
    if (_i != BLOCKING) {
        say(idle, GET_FAST);
        expect_fast(idle);
    }
    expect_descriptors(before + 1);
    kill(server.pid, SIGTERM);
    expect_end(idle);
    expect_exit(0);
}
END_TEST

/* Waits until a server that was told to stop does not listen any more. */
static void expect_refusal(void)
{
    int fd;

    WAIT_UNTIL((fd = try_dial(0)) < 0 || close(fd) < 0, "still listens");
    EXPECT(errno == ECONNREFUSED || errno == ECONNRESET, "connect: %m");
}

/* Another signal ends a server that was told to stop, unless it follows so quickly upon the first
 * that it is no new order. */
static void expect_killed_by_another(void)
{
    double until = now() + PATIENCE_S;
    int status;

    do {
        EXPECT(now() < until, "another signal does not end it");
        pause_s(0.2);
        kill(server.pid, SIGTERM);
    } while (waitpid(server.pid, &status, WNOHANG) == 0);
    server.pid = 0;
    EXPECT(WIFSIGNALED(status), "wait status %#x instead of the signal", (unsigned)status);
}

START_TEST(a_signal_that_comes_while_the_loop_is_busy_is_not_lost)
{
    START("--timeout", LONG, "--delay", "0.5", "--block");
    int idle = dial_and_say(GET_FAST);
    expect_fast(idle);
    int slow = dial_and_say(GET_SLOW);
    pause_s(0.2); /* it sleeps in the loop now; all holds if it does not */
    kill(server.pid, SIGTERM);
    expect_slow(slow);
    expect_end(idle);
    expect_exit(0);
}
END_TEST

/* Sends requests without end, or reads what comes, in a process of its own. */
static pid_t keep_on(int fd, bool sending)
{
    static char bytes[65536];
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i + sizeof GET_FAST <= sizeof bytes; i += sizeof GET_FAST - 1)
        memcpy(bytes + i, GET_FAST, sizeof GET_FAST - 1);
    size_t whole = sizeof bytes / (sizeof GET_FAST - 1) * (sizeof GET_FAST - 1);
    while ((sending ? send(fd, bytes, whole, MSG_NOSIGNAL) : recv(fd, bytes, sizeof bytes, 0)) > 0)
        ;
    _exit(0);
}

START_TEST(a_loop_that_is_never_idle_hears_a_signal)
{
    pid_t pids[6];

    START("--timeout", LONG);
    for (size_t i = 0; i < LENGTH(pids); i += 2) {
        int fd = dial();
        pids[i] = keep_on(fd, true);
        pids[i + 1] = keep_on(fd, false);
    }
    pause_s(0.3);
    kill(server.pid, SIGTERM);
    expect_exit(0);
    for (size_t i = 0; i < LENGTH(pids); i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
}
END_TEST

START_TEST(a_draining_server_waits_for_slow_alone_and_a_second_signal_ends_it)
{
    START("--timeout", LONG, "--delay", LONG);
    int before = descriptors_at_rest();
    int idle = dial_and_say(GET_FAST), slow = dial_and_say(GET_SLOW);
    expect_fast(idle);
    expect_descriptors(before + 2);
    kill(server.pid, SIGTERM);
    expect_end(idle);
    expect_refusal();
    EXPECT(silent(slow), "/slow is not waited for");
    expect_killed_by_another();
}
END_TEST

START_TEST(a_second_signal_ends_the_blocking_server)
{
    START("--timeout", LONG);
    int before = descriptors_at_rest();
    dial_and_say("GET /fast HT");
    expect_descriptors(before + 1);
    WAIT_UNTIL(strstr(status_of("State:"), "sleeping") != NULL, "has not read all that there is");
    kill(server.pid, SIGTERM);
    expect_killed_by_another();
}
END_TEST

/* A group of processes is often told twice: by who signals each, and by a parent that passes it on.
 * The server may be kept from hearing the second soon, so not each try has to succeed. */
START_TEST(a_signal_that_is_said_twice_is_one)
{
    bool one = false;

    for (int try = 0; try < 5 && !one; try++, teardown()) {
        START("--timeout", LONG, "--delay", "0.4");
        int before = descriptors_at_rest();
        int slow = dial_and_say(GET_SLOW);
        expect_descriptors(before + 1);
        kill(server.pid, SIGTERM);
        pause_s(0.01); /* the first is heard; else the kernel makes one of them */
        kill(server.pid, SIGTERM);
        int status = end_of_server();
        one = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        close(slow);
    }
    EXPECT(one, "the second ends it");
}
END_TEST

/* Asks for /slow often, tells the server to stop, and expects that all are answered. */
static void expect_drained(size_t clients)
{
    int fds[256];

    for (size_t i = 0; i < clients; i++)
        fds[i] = dial_and_say(GET_SLOW);
    kill(server.pid, SIGTERM);
    for (size_t i = 0; i < clients; i++) {
        expect_slow(fds[i]);
        expect_end(fds[i]);
    }
    expect_exit(0);
}

START_TEST(two_hundred_in_flight_are_answered_before_the_end)
{
    START("--timeout", LONG, "--delay", "0.5");
    expect_drained(200);
}
END_TEST

START_TEST(who_waits_for_a_descriptor_is_answered_before_the_end)
{
    START("--timeout", LONG, "--delay", "0.2");
    limit(RLIMIT_NOFILE, 60);
    expect_drained(130);
}
END_TEST

START_TEST(who_has_begun_a_head_may_finish_it_before_the_end)
{
    START("--timeout", LONG);
    int fd = dial_and_say(GET_FAST "GET /fast HT"); /* when /fast is answered, it has that too */
    expect_fast(fd);
    kill(server.pid, SIGTERM);
    expect_refusal();
    say(fd, "TP/1.1\r\nHost: h\r\n\r\n");
    expect_close(fd, expect_fast(fd));
    expect_exit(0);
}
END_TEST

/* The processes that the server has started, up to most; returns their number. */
static int workers(pid_t *pids, int most)
{
    char path[64];
    int n = 0;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", server.pid, server.pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        ck_abort_msg("%s: %s: %m", stage, path);
    while (n < most && fscanf(file, "%d", &pids[n]) == 1) /* NOLINT(cert-err34-c): the kernel's */
        n++;
    fclose(file);
    return n;
}

/* A socket that was ready need not be so any more (a worker has taken the client): whether that is
 * seldom or often, a loop that then blocks is lost. So look at what the kernel has put down. */
START_TEST(no_socket_of_a_loop_can_block)
{
    int sockets = 0;

    START("--timeout", LONG);
    int fd = dial_and_say(GET_FAST);
    expect_fast(fd);
    for (int n = 3; n < 64; n++) {
        char path[64], line[64] = "";
        unsigned flags = 0;

        snprintf(path, sizeof path, "/proc/%d/fd/%d", server.pid, n);
        ssize_t length = readlink(path, line, sizeof line - 1);
        if (length < 0 || strncmp(line, "socket:", 7) != 0)
            continue;
        snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", server.pid, n);
        FILE *file = fopen(path, "r");
        if (file == NULL)
            ck_abort_msg("%s: %s: %m", stage, path);
        while (fgets(line, sizeof line, file) != NULL)
            if (strncmp(line, "flags:", 6) == 0)
                flags = (unsigned)strtoul(line + 6, NULL, 8);
        fclose(file);
        EXPECT((flags & O_NONBLOCK) != 0, "descriptor %d can block", n);
        sockets++;
    }
    EXPECT(sockets == 2, "has %d sockets, not a listener and a client", sockets);
}
END_TEST

START_TEST(workers_share_the_port)
{
    pid_t pids[8];
    int fds[40];

    START("--workers", "3", "--timeout", LONG);
    WAIT_UNTIL(workers(pids, 8) == 3, "has not three workers");
    for (size_t i = 0; i < LENGTH(fds); i++) {
        fds[i] = dial_and_say(GET_FAST);
        expect_fast(fds[i]);
    }
    /* nobody new comes: a worker that stands in accept serves nobody */
    for (size_t i = 0; i < LENGTH(fds) && _i != BLOCKING; i++) {
        say(fds[i], GET_FAST);
        expect_fast(fds[i]);
    }
    kill(server.pid, SIGTERM);
    expect_exit(0);
}
END_TEST

START_TEST(a_worker_that_died_is_replaced)
{
    pid_t pids[8], dead;

    START("--workers", "2");
    WAIT_UNTIL(workers(pids, 8) == 2, "has not two workers");
    dead = pids[0];
    kill(dead, SIGKILL);
    WAIT_UNTIL(strstr(written(server.log), "was killed by signal 9") != NULL, "does not say so");
    WAIT_UNTIL(workers(pids, 8) == 2 && pids[0] != dead && pids[1] != dead, "does not replace it");
    expect_served();
    kill(server.pid, SIGINT);
    expect_exit(0);
}
END_TEST

START_TEST(workers_answer_what_is_in_flight_before_the_end)
{
    pid_t pids[8];
    int fds[20];

    START("--workers", "2", "--delay", "0.5", "--timeout", LONG);
    WAIT_UNTIL(workers(pids, 8) == 2, "has not two workers");
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_SLOW);
    pause_s(0.1);
    kill(server.pid, SIGTERM);
    for (size_t i = 0; i < LENGTH(fds); i++)
        expect_slow(fds[i]);
    expect_exit(0);
}
END_TEST

START_TEST(a_bad_option_is_named)
{
    static char *const cases[][3] = {
        {"--port", "70000"},
        {"--port", "x"},
        {"--port", "-1"},
        {"--port", ""},
        {"--delay", "-1"},
        {"--delay", "nan"},
        {"--delay", "1x"},
        {"--delay", ""},
        {"--delay", "1e9"},
        {"--delay", "inf"},
        {"--delay", " 1"},
        {"--delay", "."},
        {"--timeout", "0"},
        {"--timeout", "x"},
        {"--host", "300.1.1.1"},
        {"--host", ""},
        {"--host", "no.such"},
        {"--nonsense"},
        {"extra"},
        {"--port"},
        {"--delay", "99999"},
        {"--port", "99999999"},
        {"--timeout", "0.00001"},
    };

    for (size_t i = 0; i < LENGTH(cases); i++, teardown()) {
        const char *option = cases[i][0], *value = cases[i][1] ? cases[i][1] : "";
        spawn(_i, cases[i]);
        int status = end_of_server();
        const char *text = written(server.log);
        EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 2, "%s \"%s\": wait status %#x", option,
               value, (unsigned)status);
        EXPECT(strstr(text, option) && strstr(text, value), "%s \"%s\" is not named", option,
               value);
        EXPECT(strchr(text, '\n') == strrchr(text, '\n'), "more than a line");
        EXPECT(*written(server.out) == '\0', "listens");
    }
}
END_TEST

START_TEST(help_and_version_are_given)
{
    spawn(_i, (char *[]){"--help", NULL});
    expect_exit(0);
    EXPECT(strstr(written(server.out), "--delay SECONDS") != NULL, "no help");
    teardown();
    spawn(_i, (char *[]){"--version", NULL});
    expect_exit(0);
    EXPECT(strncmp(written(server.out), stage, strlen(stage)) == 0, "no version");
}
END_TEST

START_TEST(a_port_that_is_taken_is_an_error)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    char port[16];

    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert(bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 1) == 0 &&
              getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    snprintf(port, sizeof port, "%d", ntohs(address.sin_port));
    spawn(_i, (char *[]){"--port", port, NULL});
    expect_exit(1);
    EXPECT(strstr(written(server.log), port) != NULL, "the port is not named");
    EXPECT(strstr(written(server.log), strerror(EADDRINUSE)) != NULL, "the reason is not named");
}
END_TEST

START_TEST(it_listens_on_ipv6)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return; /* no IPv6 here */
    close(fd);
    spawn(_i, (char *[]){"--port", "0", "--host", "::1", NULL});
    expect_listening("[::1]");
    address.sin6_port = htons((uint16_t)server.port);
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect: %m");
    say(fd, GET_FAST_CLOSE);
    expect_close(fd, expect_fast(fd));
}
END_TEST

START_TEST(verbose_is_a_line_for_each_answer)
{
    static const struct {
        const char *request, *line;
    } cases[] = {
        {GET_FAST, "\"GET /fast HTTP/1.1\" 200 "},
        {"\r\n" GET_SLOW, "\"GET /slow HTTP/1.1\" 200 "},
        {REQUEST("POST", "/fast", ""), "\"POST /fast HTTP/1.1\" 405 "},
        {"GET /\x1b[31m\x07\xff HTTP/1.1\r\n\r\n", "\"GET /?"}, /* would turn a terminal red */
        {"\x7f\x80\n", "\"?"},
    };
    char wanted[128];
    int ports[LENGTH(cases)];
    size_t n = 0;

    START("--delay", "0.05", "--verbose");
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct sockaddr_in address = {0};
        socklen_t size = sizeof address;
        size_t before = strlen(written(server.log));
        int fd = dial_and_say(cases[i].request);
        hear(fd, true);
        WAIT_UNTIL(strchr(written(server.log) + before, '\n') != NULL, "writes no line");
        getsockname(fd, (struct sockaddr *)&address, &size);
        ports[i] = ntohs(address.sin_port);
        close(fd);
    }
    kill(server.pid, SIGTERM);
    expect_exit(0);
    const char *line = written(server.log), *end;
    for (; (end = strchr(line, '\n')) != NULL && n < LENGTH(cases); line = end + 1, n++) {
        snprintf(wanted, sizeof wanted, " 127.0.0.1:%d %s", ports[n], cases[n].line);
        const char *found = strstr(line, wanted);
        EXPECT(found != NULL && found < end, "no \"%s\"", wanted);
        for (const char *c = line; c < end; c++)
            EXPECT(*c >= ' ' && *c <= '~', "byte %#x reaches the terminal", (unsigned char)*c);
    }
    EXPECT(n == LENGTH(cases) && *line == '\0', "not a line for each of %zu answers",
           LENGTH(cases));
}
END_TEST

/* Returns the exit status. */
static int run(int index)
{
    const struct {
        const TTest *test;
        int first, last; /* stages that it is for */
    } tests[] = {
        {both_routes_are_answered, BLOCKING, LIBEV},
        {slow_is_never_early, BLOCKING, LIBEV},
        {head_is_answered_without_a_body, BLOCKING, LIBEV},
        {fast_overtakes_slow, THREADED, LIBEV},
        {fast_waits_behind_slow, BLOCKING, BLOCKING},
        {fast_waits_behind_slow, SELECT, LIBEV},
        {slow_ones_wait_together, THREADED, LIBEV},
        {a_connection_is_kept_alive, THREADED, LIBEV},
        {the_blocking_server_keeps_no_connection, BLOCKING, BLOCKING},
        {http_1_0_closes_unless_told_otherwise, BLOCKING, LIBEV},
        {connection_close_is_honoured, BLOCKING, LIBEV},
        {pipelined_requests_are_answered_in_order, THREADED, LIBEV},
        {a_bad_request_behind_a_good_one_gets_its_own_answer, THREADED, LIBEV},
        {a_request_may_come_in_pieces, BLOCKING, LIBEV},
        {errors_have_their_status, BLOCKING, LIBEV},
        {an_error_is_read_in_full_whatever_was_sent, BLOCKING, LIBEV},
        {a_body_is_never_read_as_a_request, BLOCKING, LIBEV},
        {who_has_finished_speaking_is_answered, BLOCKING, LIBEV},
        {who_leaves_in_the_middle_of_a_head_is_let_go, BLOCKING, LIBEV},
        {resets_neither_end_nor_spin_the_server, BLOCKING, LIBEV},
        {an_answer_to_nobody_is_no_signal, BLOCKING, LIBEV},
        {who_says_nothing_is_closed_quietly, BLOCKING, LIBEV},
        {who_says_nothing_hinders_nobody, THREADED, LIBEV},
        {who_says_nothing_owns_the_blocking_server, BLOCKING, BLOCKING},
        {a_dripping_head_is_timed_out, BLOCKING, LIBEV},
        {who_does_not_read_costs_little, BLOCKING, LIBEV},
        {out_of_descriptors_clients_wait, BLOCKING, LIBEV},
        {more_clients_than_fit_in_a_set, SELECT, LIBEV},
        {out_of_threads_clients_wait, THREADED, THREADED},
        {out_of_threads_a_server_can_be_stopped, THREADED, THREADED},
        {no_descriptor_is_leaked, BLOCKING, LIBEV},
        {a_server_with_nothing_to_do_stops_at_once, BLOCKING, LIBEV},
        {what_is_in_flight_is_answered_before_the_end, BLOCKING, LIBEV},
        {who_is_idle_is_closed_at_the_signal, BLOCKING, LIBEV},
        {a_loop_that_is_never_idle_hears_a_signal, THREADED, LIBEV},
        {a_signal_that_comes_while_the_loop_is_busy_is_not_lost, SELECT, LIBEV},
        {a_draining_server_waits_for_slow_alone_and_a_second_signal_ends_it, THREADED, LIBEV},
        {a_second_signal_ends_the_blocking_server, BLOCKING, BLOCKING},
        {a_signal_that_is_said_twice_is_one, BLOCKING, LIBEV},
        {two_hundred_in_flight_are_answered_before_the_end, THREADED, LIBEV},
        {who_waits_for_a_descriptor_is_answered_before_the_end, THREADED, LIBEV},
        {who_has_begun_a_head_may_finish_it_before_the_end, THREADED, LIBEV},
        {no_socket_of_a_loop_can_block, SELECT, LIBEV},
        {workers_share_the_port, BLOCKING, LIBEV},
        {a_worker_that_died_is_replaced, BLOCKING, LIBEV},
        {workers_answer_what_is_in_flight_before_the_end, THREADED, LIBEV},
        {a_bad_option_is_named, BLOCKING, LIBEV},
        {help_and_version_are_given, BLOCKING, LIBEV},
        {a_port_that_is_taken_is_an_error, BLOCKING, LIBEV},
        {it_listens_on_ipv6, BLOCKING, LIBEV},
        {verbose_is_a_line_for_each_answer, BLOCKING, LIBEV},
    };
    Suite *suite = suite_create(stages[index]);
    TCase *tcase = tcase_create(stages[index]);
    SRunner *runner = srunner_create(suite);

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, NULL, teardown);
    for (size_t i = 0; i < LENGTH(tests); i++)
        if (index >= tests[i].first && index <= tests[i].last)
            tcase_add_loop_test(tcase, tests[i].test, index, index + 1);
    suite_add_tcase(suite, tcase);

    srunner_run_all(runner, CK_SILENT);
    printf("%s: ", stages[index]); /* and all of its results behind it, in one piece */
    srunner_print(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

int main(void)
{
    const char *wanted = getenv("STAGE");
    int failed = 0, status;

    if (wanted != NULL && *wanted != '\0') {
        for (int i = 0; i <= LIBEV; i++)
            if (strcmp(wanted, stages[i]) == 0)
                return run(i);
        fprintf(stderr, "check_stages: STAGE=%s: no such stage\n", wanted);
        return 2;
    }
    for (int i = 0; i <= LIBEV; i++)
        switch (fork()) {
        case 0:
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            return run(i);
        case -1:
            perror("check_stages: fork");
            failed = 1;
        }
    while (wait(&status) > 0)
        failed |= status != 0;
    return failed;
}

/* Running out of descriptors or threads, and leaking none. */
#include "tests/stages/subject.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

/* Serve forty clients that come simultaneously. Return the processor time that they cost. */
static double serve_forty(void)
{
    int fds[40];
    double before = cpu_s();

    suspend(); /* let all clients connect before the first is accepted */
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_FAST);
    send_signal(SIGCONT);
    for (size_t i = 0; i < LENGTH(fds); i++) {
        expect_fast(fds[i]);
        expect_end(fds[i]);
    }
    return cpu_s() - before;
}

START_TEST(clients_wait_for_descriptors)
{
    START("--timeout", "0.4");
    double enough = serve_forty();
    teardown();
    START("--timeout", "0.4");
    limit_descriptors(20);
    double since = now();
    double too_few = serve_forty();
    EXPECT(_i == BLOCKING || now() - since > 0.7,
           "all were served simultaneously, so nothing ran out");
    EXPECT(too_few < 2 * enough + 0.1, "busy loop: %.2f s of processor time, and %.2f s without",
           too_few, enough);
    expect_served();
}
END_TEST

START_TEST(more_clients_than_an_fd_set_holds)
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

START_TEST(clients_wait_for_threads)
{
    int fds[60];

    START("--delay", "0.1");
    limit_threads();
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_SLOW_CLOSE);
    for (size_t i = 0; i < LENGTH(fds); i++)
        expect_close(fds[i], expect_slow(fds[i]));
    send_signal(SIGTERM);
    expect_exit(0);
}
END_TEST

/* Each client of a thousand takes memory, of which the server has little. Somewhere on the way an
 * allocation fails: of a connection, or of a table, or inside a library. */
START_TEST(clients_wait_for_memory)
{
    enum { CLIENTS = 1000, STEPS = 8 };
    static int fds[CLIENTS];
    struct rlimit files = {CLIENTS + 100, CLIENTS + 100};

    ck_assert_msg(setrlimit(RLIMIT_NOFILE, &files) == 0, "RLIMIT_NOFILE is too low");
    START("--timeout", LONG);
    long size = kib("VmSize:");
    teardown();
    if (size > 1 << 30) /* a sanitizer needs terabytes, and gets no limit */
        return;
    for (int step = 0; step < STEPS; step++, teardown()) {
        server.address_space = size + 500 + 700 * step;
        START("--timeout", LONG);
        for (size_t i = 0; i < CLIENTS; i++)
            fds[i] = dial_and_say(GET_FAST);
        expect_fast(fds[0]);
        pause_s(0.1); /* let it run out of memory; the test also holds if it has not */
        EXPECT(!has_ended(), "ends when memory is short");
        for (size_t i = 0; i < CLIENTS; i++)
            close(fds[i]);
        expect_served();
        send_signal(SIGTERM);
        expect_exit(0);
    }
}
END_TEST

START_TEST(no_descriptor_leaks)
{
    static const struct {
        const char *request;
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
    enum { READ, HALF_CLOSE, RESET, ENDS };

    START("--delay", "0.01", "--timeout", LONG);
    int before = descriptors_at_rest();
    for (size_t i = 0; i < 200; i++) {
        size_t kind = i % LENGTH(kinds), end = i / LENGTH(kinds) % ENDS;
        int fd = dial_and_say(kinds[kind].request);
        if (end == READ && kinds[kind].answered)
            read_response(fd, true);
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

void resources_tests(void)
{
    begin_subject("resources");
    add_test(clients_wait_for_descriptors, BLOCKING, LIBEV);
    add_test(more_clients_than_an_fd_set_holds, SELECT, LIBEV);
    add_test(clients_wait_for_threads, THREADED, THREADED);
    add_test(clients_wait_for_memory, POLL, LIBEV);
    add_test(no_descriptor_leaks, BLOCKING, LIBEV);
}

/* Graceful shutdown: which clients are still answered, and when the server exits. */
#include "tests/stages/subject.h"

#include <signal.h>
#include <sys/resource.h>

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

void shutdown_tests(void)
{
    begin_subject("shutdown");
    add_test(out_of_threads_a_server_can_be_stopped, THREADED, THREADED);
    add_test(a_server_with_nothing_to_do_stops_at_once, BLOCKING, LIBEV);
    add_test(what_is_in_flight_is_answered_before_the_end, BLOCKING, LIBEV);
    add_test(who_is_idle_is_closed_at_the_signal, BLOCKING, LIBEV);
    add_test(a_draining_server_waits_for_slow_alone_and_a_second_signal_ends_it, THREADED, LIBEV);
    add_test(two_hundred_in_flight_are_answered_before_the_end, THREADED, LIBEV);
    add_test(who_waits_for_a_descriptor_is_answered_before_the_end, THREADED, LIBEV);
    add_test(who_has_begun_a_head_may_finish_it_before_the_end, THREADED, LIBEV);
}

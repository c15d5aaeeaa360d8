/* Graceful shutdown: which clients are still answered, and when the server exits. */
#include "tests/stages/subject.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

/* Idle clients hold all the threads, and another client waits for one. */
START_TEST(server_out_of_threads_shuts_down)
{
    int fds[60];

    START("--timeout", LONG);
    limit_threads();
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_FAST);
    expect_fast(fds[0]);
    pause_s(0.2); /* let the others get theirs; the test also holds if they have not */
    send_signal(SIGTERM);
    for (size_t i = 1; i < LENGTH(fds); i++) {
        expect_fast(fds[i]);
        expect_end(fds[i]);
    }
    expect_exit(0);
}
END_TEST

/* From now on, the server can accept no client until one of its descriptors is closed. */
static void exhaust_descriptors(int index)
{
    expect_asleep(); /* it has opened all that it opens when it starts */
    limit_descriptors(lowest_free_descriptor());
    if (index <= THREADED) /* accept may have reserved one before it blocked: for this client */
        close(dial_and_say(GET_FAST_CLOSE));
}

/* Accept fails for want of a descriptor, and no connection is left whose end would free one. */
START_TEST(server_out_of_descriptors_shuts_down)
{
    START("--timeout", LONG);
    exhaust_descriptors(_i);
    int waiting = dial_and_say(GET_FAST);
    pause_s(0.1); /* let accept fail before the signal, too; the test also holds if it has not */
    send_signal(SIGTERM);
    expect_exit(0);
    close(waiting);
}
END_TEST

/* Accept fails while /slow holds the last descriptor. After --timeout the server must give up
 * accepting, or it would serve the waiting client as soon as /slow ends. */
START_TEST(shutdown_without_descriptors_is_bounded)
{
    char byte;

    START("--timeout", "0.3", "--delay", "3");
    expect_asleep();
    int before = descriptors(); /* the first client gets the lowest that is free */
    int slow = dial_and_say_in_time(GET_SLOW);
    expect_descriptors(before + 1);
    exhaust_descriptors(_i);
    int waiting = dial_and_say(GET_FAST);
    send_signal(SIGTERM);
    expect_slow(slow);
    expect_end(slow);
    expect_exit(0);
    EXPECT(recv(waiting, &byte, 1, 0) <= 0, "still accepts clients after --timeout");
}
END_TEST

static const int stop_signals[] = {SIGTERM, SIGINT};

START_TEST(server_without_clients_exits_immediately)
{
    for (size_t i = 0; i < LENGTH(stop_signals); i++, teardown()) {
        START("--timeout", LONG, "--delay", LONG);
        if (i == 1)
            expect_served();
        send_signal(stop_signals[i]);
        expect_exit(0);
        EXPECT(*written(server.log) == '\0', "writes to stderr");
    }
}
END_TEST

START_TEST(requests_in_flight_are_answered_before_exit)
{
    for (size_t i = 0; i < LENGTH(stop_signals); i++, teardown()) {
        START("--timeout", LONG, "--delay", "0.4");
        int before = descriptors_at_rest();
        double asked = now();
        int slow = dial_and_say(GET_SLOW);
        expect_descriptors(before + 1); /* 01 serves only clients that it has accepted */
        send_signal(stop_signals[i]);
        bool late = now() - asked > 0.3; /* /slow may have been answered before the signal */
        struct response r = expect_slow(slow);
        EXPECT(now() - asked >= 0.4, "the signal cut /slow short");
        EXPECT(r.closes || late, "no Connection: close in \"%s\"", r.head);
        expect_end(slow);
        expect_exit(0);
    }
}
END_TEST

START_TEST(idle_connections_are_closed_immediately)
{
    START("--timeout", LONG);
    int before = descriptors_at_rest();
    int idle = dial();
    if (_i != BLOCKING) {
        say(idle, GET_FAST);
        expect_fast(idle);
    }
    expect_descriptors(before + 1);
    send_signal(SIGTERM);
    expect_end(idle);
    expect_exit(0);
}
END_TEST

START_TEST(shutdown_waits_only_for_slow)
{
    START("--timeout", LONG, "--delay", LONG);
    int before = descriptors_at_rest();
    int idle = dial_and_say(GET_FAST), slow = dial_and_say(GET_SLOW);
    expect_fast(idle);
    expect_descriptors(before + 2);
    send_signal(SIGTERM);
    expect_end(idle);
    expect_refusal();
    EXPECT(silent(slow), "does not wait for /slow");
}
END_TEST

/* Send so many requests for /slow, tell the server to stop, and expect that all are answered. */
static void expect_drained(size_t clients)
{
    int fds[256];

    for (size_t i = 0; i < clients; i++)
        fds[i] = dial_and_say(GET_SLOW);
    for (size_t i = 0; i < clients; i++)
        expect_received(fds[i]); /* and so is in the backlog, or accepted */
    send_signal(SIGTERM);
    for (size_t i = 0; i < clients; i++) {
        expect_slow(fds[i]);
        expect_end(fds[i]);
    }
    expect_exit(0);
}

START_TEST(two_hundred_requests_are_answered_before_exit)
{
    START("--timeout", LONG, "--delay", "0.5");
    expect_drained(200);
}
END_TEST

START_TEST(clients_in_the_backlog_are_answered_before_exit)
{
    START("--timeout", LONG, "--delay", "0.2");
    limit_descriptors(60);
    expect_drained(130);
}
END_TEST

START_TEST(client_may_finish_its_head_before_exit)
{
    START("--timeout", LONG);
    int fd = dial_and_say(GET_FAST "GET /fast HT");
    expect_fast(fd); /* one segment: the server has read both */
    send_signal(SIGTERM);
    expect_refusal();
    say(fd, "TP/1.1\r\nHost: h\r\n\r\n");
    expect_close(fd, expect_fast(fd));
    expect_exit(0);
}
END_TEST

/* The server accepts this client only after SIGTERM. */
START_TEST(client_in_the_backlog_may_finish_its_head_before_exit)
{
    START("--timeout", LONG);
    suspend();
    int fd = dial_and_say("GET /fast HT");
    expect_received(fd);
    send_signal(SIGTERM);
    send_signal(SIGCONT);
    expect_refusal();
    pause_s(0.1); /* let the server read this part; the test also holds if it has not */
    say(fd, "TP/1.1\r\nHost: h\r\n\r\n");
    expect_close(fd, expect_fast(fd));
    expect_exit(0);
}
END_TEST

void shutdown_tests(void)
{
    begin_subject("shutdown");
    add_test(server_out_of_threads_shuts_down, THREADED, THREADED);
    add_test(server_out_of_descriptors_shuts_down, BLOCKING, LIBEV);
    add_test(shutdown_without_descriptors_is_bounded, THREADED, LIBEV);
    add_test(server_without_clients_exits_immediately, BLOCKING, LIBEV);
    add_test(requests_in_flight_are_answered_before_exit, BLOCKING, LIBEV);
    add_test(idle_connections_are_closed_immediately, BLOCKING, LIBEV);
    add_test(shutdown_waits_only_for_slow, THREADED, LIBEV);
    add_test(two_hundred_requests_are_answered_before_exit, THREADED, LIBEV);
    add_test(clients_in_the_backlog_are_answered_before_exit, THREADED, LIBEV);
    add_test(client_may_finish_its_head_before_exit, THREADED, LIBEV);
    add_test(client_in_the_backlog_may_finish_its_head_before_exit, THREADED, LIBEV);
}

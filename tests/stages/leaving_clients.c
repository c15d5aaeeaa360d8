/* Clients that end or reset the connection before they have their response. */
#include "tests/stages/subject.h"

#include <unistd.h>

START_TEST(half_closed_client_is_answered)
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

START_TEST(client_that_leaves_mid_head_is_closed)
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

START_TEST(resets_cause_neither_exit_nor_busy_loop)
{
    START("--timeout", LONG, "--delay", _i == BLOCKING ? "0.5" : LONG);
    int before = descriptors_at_rest();
    int slow = dial(), closed = dial();
    /* Let the server watch both sockets before it stops doing so for /slow. */
    for (int i = 0; i < 2 && _i != BLOCKING; i++) {
        say(i == 0 ? slow : closed, GET_FAST);
        expect_fast(i == 0 ? slow : closed);
    }
    say(slow, GET_SLOW);
    say(closed, GET_SLOW);
    expect_descriptors(before + (_i == BLOCKING ? 1 : 2));
    expect_received(slow);
    expect_received(closed);
    expect_asleep(); /* a loop has read the requests, and begun the delay */
    half_close(closed);
    reset(closed);
    reset(slow);
    expect_no_busy_loop(0.3);

    int idle = dial(), half = dial_and_say("GET /fast HT");
    expect_received(half);
    if (_i != BLOCKING)
        expect_descriptors(before + 4);
    expect_asleep(); /* a loop waits for more from both */
    reset(idle);
    reset(half);
    reset(dial());
    expect_served();
    expect_no_busy_loop(0.1);
}
END_TEST

START_TEST(writing_to_a_closed_connection_raises_no_sigpipe)
{
    START("--delay", "0.2");
    int before = descriptors_at_rest();
    int fds[] = {dial_and_say(GET_SLOW), dial_and_say(GET_SLOW GET_SLOW), dial_and_say(GET_SLOW)};
    pause_s(0.1);
    /* After an end and a reset, send fails with EPIPE, and raises SIGPIPE unless told not to. */
    half_close(fds[0]);
    reset(fds[0]);
    reset(fds[1]);
    close(fds[2]);
    expect_descriptors(before);
    expect_served();
}
END_TEST

void leaving_clients_tests(void)
{
    begin_subject("leaving_clients");
    add_test(half_closed_client_is_answered, BLOCKING, LIBEV);
    add_test(client_that_leaves_mid_head_is_closed, BLOCKING, LIBEV);
    add_test(resets_cause_neither_exit_nor_busy_loop, BLOCKING, LIBEV);
    add_test(writing_to_a_closed_connection_raises_no_sigpipe, BLOCKING, LIBEV);
}

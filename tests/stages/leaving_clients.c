/* Clients that end or reset the connection before they have their response. */
#include "tests/stages/subject.h"

#include <unistd.h>

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

void leaving_clients_tests(void)
{
    begin_subject("leaving_clients");
    add_test(who_has_finished_speaking_is_answered, BLOCKING, LIBEV);
    add_test(who_leaves_in_the_middle_of_a_head_is_let_go, BLOCKING, LIBEV);
    add_test(resets_neither_end_nor_spin_the_server, BLOCKING, LIBEV);
    add_test(an_answer_to_nobody_is_no_signal, BLOCKING, LIBEV);
}

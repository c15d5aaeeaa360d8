/* When a connection stays open, and several requests on one connection. */
#include "tests/stages/subject.h"

#include <unistd.h>

START_TEST(connection_is_kept_alive)
{
    START("--delay", "0.05");
    int fd = dial_and_say(GET_FAST);
    expect_fast(fd);
    say(fd, GET_SLOW);
    expect_slow(fd);
    say(fd, REQUEST("GET", "/nowhere", ""));
    EXPECT(!expect_status(fd, 404).closes, "404 closes the connection");
    say(fd, "\r\n" GET_FAST_CLOSE);
    expect_close(fd, expect_fast(fd));
}
END_TEST

START_TEST(blocking_server_closes_every_connection)
{
    static const char *const requests[] = {GET_FAST, GET_SLOW,
                                           REQUEST("GET", "/fast", "Connection: keep-alive\r\n"),
                                           REQUEST("GET", "/nowhere", "")};

    START("--delay", "0.05");
    for (size_t i = 0; i < LENGTH(requests); i++) {
        int fd = dial_and_say(requests[i]);
        expect_close(fd, read_response(fd, true));
    }
}
END_TEST

START_TEST(http_1_0_closes_unless_asked_to_keep_alive)
{
    START();
    int fd = dial_and_say("GET /fast HTTP/1.0\r\n\r\n");
    expect_close(fd, expect_fast(fd));

    fd = dial_and_say("GET /fast HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    struct response r = expect_fast(fd);
    EXPECT(r.stays == (_i != BLOCKING), "wrong Connection field in \"%s\"", r.head);
    if (r.stays) {
        say(fd, "GET /fast HTTP/1.0\r\n\r\n");
        r = expect_fast(fd);
    }
    expect_close(fd, r);
}
END_TEST

START_TEST(connection_close_is_honoured)
{
    START("--delay", "0.05");
    int fd = dial_and_say(GET_FAST_CLOSE);
    expect_close(fd, expect_fast(fd));
    /* A request after it is not answered, and does no harm. */
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
    EXPECT(read_response(fd, false).status == 200, "status is not 200");
    expect_status(fd, 404);
    expect_slow(fd);
    expect_fast(fd);
    EXPECT(now() - asked >= 0.3, "three /slow did not wait one after the other");
    EXPECT(silent(fd), "more responses than requests");
}
END_TEST

START_TEST(bad_request_after_good_ones_gets_its_own_response)
{
    START("--delay", "0.1");
    int fd = dial_and_say(GET_FAST GET_SLOW "GET /fast\r\n\r\n" GET_FAST);
    expect_fast(fd);
    expect_slow(fd);
    expect_close(fd, expect_status(fd, 400));
}
END_TEST

void keep_alive_tests(void)
{
    begin_subject("keep_alive");
    add_test(connection_is_kept_alive, THREADED, LIBEV);
    add_test(blocking_server_closes_every_connection, BLOCKING, BLOCKING);
    add_test(http_1_0_closes_unless_asked_to_keep_alive, BLOCKING, LIBEV);
    add_test(connection_close_is_honoured, BLOCKING, LIBEV);
    add_test(pipelined_requests_are_answered_in_order, THREADED, LIBEV);
    add_test(bad_request_after_good_ones_gets_its_own_response, THREADED, LIBEV);
}

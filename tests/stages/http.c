/* Requests and responses on the wire. */
#include "tests/stages/subject.h"

#include <string.h>
#include <unistd.h>

START_TEST(both_routes_are_answered)
{
    START("--delay", "0.05");
    int fd = dial_and_say(GET_FAST);
    EXPECT(expect_fast(fd).closes == (_i == BLOCKING), "wrong Connection field");
    close(fd);
    fd = dial_and_say(GET_SLOW);
    EXPECT(expect_slow(fd).closes == (_i == BLOCKING), "wrong Connection field");
    close(fd);
    EXPECT(*written(server.log) == '\0', "writes to stderr");
}
END_TEST

START_TEST(head_response_has_no_body)
{
    START("--delay", "0.2");
    int fd = dial_and_say(REQUEST("HEAD", "/fast", "Connection: close\r\n"));
    EXPECT(read_response(fd, false).status == 200, "status is not 200");
    expect_end(fd);

    fd = dial();
    double asked = now();
    say(fd, REQUEST("HEAD", "/slow", "Connection: close\r\n"));
    EXPECT(read_response(fd, false).status == 200, "status is not 200");
    EXPECT(now() - asked >= 0.2, "HEAD /slow did not wait");
    expect_end(fd);
}
END_TEST

START_TEST(request_may_arrive_in_pieces)
{
    static const char text[] = GET_FAST_CLOSE;
    size_t length = strlen(text);

    START();
    for (size_t piece = 1; piece < length; piece++) {
        int fd = dial();
        for (size_t at = 0; at < length; at += piece) {
            say_bytes(fd, text + at, length - at < piece ? length - at : piece);
            pause_s(piece == 1 ? 0.002 : 0.0001); /* or the server would read them together */
        }
        expect_close(fd, expect_fast(fd));
    }
}
END_TEST

START_TEST(each_error_has_its_status)
{
    bool closes = _i == BLOCKING;

    START("--delay", LONG);
    expect_error("GET /fast HTTP/1.1\r\n\r\n", 400, true); /* no Host */
    expect_error("GET /fast HTTP/1.1\n", 400, true);
    expect_error("\x16\x03\x01\x02\x01", 400, true); /* TLS */
    expect_error(REQUEST("GET", "/nowhere", ""), 404, closes);
    expect_error(REQUEST("POST", "/slow", ""), 405, closes);
    expect_error(REQUEST("DELETE", "/fast", "Connection: close\r\n"), 405, true);
    expect_error(padded("GET /", 8192), 414, true);
    expect_error(padded("GET /fast HTTP/1.1\r\nHost: h\r\nX: ", 8192), 431, true);
    expect_error(REQUEST("BREW", "/slow", ""), 501, closes);
    expect_error("GET /fast HTTP/2.0\r\nHost: h\r\n\r\n", 505, true);
}
END_TEST

START_TEST(body_is_never_read_as_a_request)
{
    START("--delay", LONG);
    expect_error(REQUEST("POST", "/fast", "Content-Length: 47\r\n") GET_SLOW, 405, true);
    expect_error(REQUEST("POST", "/fast", "Transfer-Encoding: chunked\r\n") GET_SLOW, 405, true);
    expect_error(REQUEST("POST", "/fast", "Transfer-Encoding: chunked, gzip\r\n"), 400, true);
    expect_error(REQUEST("POST", "/fast", "Transfer-Encoding: gzip, chunked\r\n"), 501, true);
    int fd = dial_and_say(REQUEST("GET", "/fast", "Content-Length: 47\r\n") GET_SLOW);
    expect_close(fd, expect_fast(fd));

    /* The body may also arrive after the response. */
    fd = dial_and_say(REQUEST("GET", "/fast", "Content-Length: 47\r\n"));
    struct response r = expect_fast(fd);
    say(fd, GET_SLOW);
    pause_s(0.05);
    say(fd, "x"); /* fails if the connection was reset */
    expect_close(fd, r);
}
END_TEST

void http_tests(void)
{
    begin_subject("http");
    add_test(both_routes_are_answered, BLOCKING, LIBEV);
    add_test(head_response_has_no_body, BLOCKING, LIBEV);
    add_test(request_may_arrive_in_pieces, BLOCKING, LIBEV);
    add_test(each_error_has_its_status, BLOCKING, LIBEV);
    add_test(body_is_never_read_as_a_request, BLOCKING, LIBEV);
}

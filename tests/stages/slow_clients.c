/* Clients that are silent, slow to send or slow to read. */
#include "tests/stages/subject.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

START_TEST(silent_client_is_closed_without_a_response)
{
    START("--timeout", "0.4");
    for (int i = 0; i < (_i == BLOCKING ? 2 : 3); i++) {
        double since = now();
        int fd = i == 0   ? dial()
                 : i == 1 ? dial_and_say("\r\n") /* an empty line begins no request */
                          : dial_and_say_in_time(GET_FAST);
        if (i == 2)
            expect_fast(fd);
        expect_end(fd);
        EXPECT(now() - since > 0.35, "closed after only %f of 0.4 s", now() - since);
    }
    expect_served();
}
END_TEST

START_TEST(dripping_head_times_out)
{
    START("--timeout", "0.5");
    int fd = dial_and_say_in_time("GET /fast HTTP/1.1\r\nHost: h\r\nX: ");
    double since = now(), said = since;
    for (; silent(fd); pause_s(0.02)) {
        EXPECT(now() - since < PATIENCE_S, "each byte renews the time-out");
        said = now();
        say(fd, "x");
    }
    EXPECT(now() - since > 0.2, "timed out after only %f of 0.5 s", now() - since);
    struct response r = expect_status(fd, 408);
    if (now() - said < 0.4) /* else the server may have stopped lingering */
        expect_close(fd, r);
    expect_served();
}
END_TEST

/* Send a request with --timeout 0.6 so that the server waits for its last part for 0.2 s. What it
 * has told the kernel for that wait must not cut the next one short. Return the connection. */
static int dial_and_drip(const char *behind)
{
    int fd = dial_and_say_in_time("GET /fast HT");

    pause_s(0.4);
    say(fd, "TP/1.1\r\n");
    pause_s(0.02);
    say(fd, "Host: h\r\n\r\n");
    say(fd, behind);
    expect_fast(fd);
    return fd;
}

START_TEST(idle_wait_after_a_dripped_head_has_its_whole_time)
{
    START("--timeout", "0.6");
    int fd = dial_and_drip("");
    double since = now();
    expect_end(fd);
    EXPECT(now() - since > 0.5, "closed after only %f of 0.6 s", now() - since);
}
END_TEST

START_TEST(head_after_a_dripped_head_has_its_whole_time)
{
    START("--timeout", "0.6");
    int fd = dial_and_drip("GET /fast HT");
    pause_s(0.4);
    EXPECT(silent(fd), "408 after 0.4 of 0.6 s");
    say(fd, "TP/1.1\r\nHost: h\r\n\r\n");
    expect_fast(fd);
    close(fd);
}
END_TEST

/* Suspend the server after it has read this beginning of a request, and well before its time-out of
 * 0.5 s; if this machine was too slow for that, try again. Return the connection. */
static int dial_and_suspend(int index, const char *beginning)
{
    char text[256];
    int idle = descriptors_at_rest();

    snprintf(text, sizeof text, "%s%s", index == BLOCKING ? "" : GET_FAST, beginning);
    for (double until = now() + PATIENCE_S;;) {
        double since = now();
        int fd = dial_and_say_in_time(text);
        if (index != BLOCKING)
            expect_fast(fd); /* one segment: the server has read both */
        while (descriptors() == idle && now() - since < 0.3)
            pause_s(0.002);
        expect_asleep();
        suspend();
        if (now() - since < 0.3)
            return fd;
        send_signal(SIGCONT);
        close(fd);
        expect_descriptors(idle);
        EXPECT(now() < until, "this machine is too slow for the test");
    }
}

/* While the server is suspended, the deadline passes, but the rest of the request arrives. */
static void expect_answer_after_suspension(int index, const char *beginning, const char *rest)
{
    int fd = dial_and_suspend(index, beginning);

    pause_s(0.6);
    say(fd, rest);
    expect_received(fd);
    send_signal(SIGCONT);
    expect_fast(fd);
    close(fd);
}

START_TEST(request_sent_during_a_suspension_is_answered)
{
    START("--timeout", "0.5");
    expect_answer_after_suspension(_i, "", GET_FAST);
}
END_TEST

START_TEST(head_completed_during_a_suspension_is_answered)
{
    START("--timeout", "0.5");
    expect_answer_after_suspension(_i, "GET /fast HT", "TP/1.1\r\nHost: h\r\n\r\n");
}
END_TEST

/* Read responses to /fast, at most so many. Return their number. */
static size_t count_fast(int fd, size_t wanted)
{
    static char bytes[65536];
    size_t count = 0;

    for (ssize_t n; count < wanted && (n = recv(fd, bytes, sizeof bytes, 0)) > 0;)
        for (ssize_t i = 0; i < n; i++)
            count += bytes[i] == '!'; /* the last byte of the body, and nowhere else */
    return count;
}

START_TEST(client_that_does_not_read_costs_little)
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
        EXPECT(sent < 64 << 20, "keeps reading requests though the client reads no response");
    }
    EXPECT(sent >= ALL, "only %zu bytes could be sent", sent);
    EXPECT(kib("VmRSS:") - before < 8 << 10, "grew by %ld KiB", kib("VmRSS:") - before);
    expect_served();
    expect_no_busy_loop(0.2);
    if (_i != BLOCKING) { /* once the client does read, it finds every response */
        size_t responses = count_fast(fd, sent / SIZE);
        EXPECT(responses == sent / SIZE, "%zu responses to %zu requests", responses, sent / SIZE);
    }
}
END_TEST

/* Closing a socket with unread input resets the connection, and the response may be lost. */
START_TEST(error_response_arrives_whatever_was_sent)
{
    START();
    expect_error(padded("GET /fast HTTP/1.1\r\nX: ", 1 << 20), 431, true);
    expect_error(padded("GET /", 1 << 20), 414, true);
    expect_error(padded(REQUEST("POST", "/fast", "Content-Length: 102400\r\n"), 102400), 405, true);
    expect_error(padded("?\r\n", 102400), 400, true);
    expect_served();
}
END_TEST

void slow_clients_tests(void)
{
    begin_subject("slow_clients");
    add_test(silent_client_is_closed_without_a_response, BLOCKING, LIBEV);
    add_test(dripping_head_times_out, BLOCKING, LIBEV);
    add_test(idle_wait_after_a_dripped_head_has_its_whole_time, THREADED, LIBEV);
    add_test(head_after_a_dripped_head_has_its_whole_time, THREADED, LIBEV);
    add_test(request_sent_during_a_suspension_is_answered, BLOCKING, LIBEV);
    add_test(head_completed_during_a_suspension_is_answered, BLOCKING, LIBEV);
    add_test(client_that_does_not_read_costs_little, BLOCKING, LIBEV);
    add_test(error_response_arrives_whatever_was_sent, BLOCKING, LIBEV);
}

/* Which client delays which other client. */
#include "tests/stages/subject.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

START_TEST(slow_is_never_early)
{
    char *const delays[] = {"0.001", "0.0333", "0.2"};

    for (size_t i = 0; i < LENGTH(delays); i++, teardown()) {
        START("--delay", delays[i]);
        for (int again = 0; again < 3; again++) {
            int fd = dial(), busy = _i == BLOCKING ? -1 : dial();
            double asked = now();
            say(fd, GET_SLOW_CLOSE);
            while (busy >= 0 &&
                   silent(fd)) { /* keep the loop busy, so that it may look too early */
                EXPECT(now() - asked < PATIENCE_S, "/slow is not answered");
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

START_TEST(fast_overtakes_slow)
{
    START("--delay", LONG);
    int slow = dial_and_say(GET_SLOW);
    expect_served();
    EXPECT(silent(slow), "/slow was answered too early");
}
END_TEST

START_TEST(fast_waits_for_slow)
{
    START("--delay", "0.3", _i == BLOCKING ? NULL : "--block");
    int slow = dial();
    double asked = now();
    say(slow, GET_SLOW);
    expect_served();
    EXPECT(now() - asked >= 0.3 && !silent(slow), "/fast overtook /slow");
    expect_slow(slow);
}
END_TEST

START_TEST(slow_requests_wait_simultaneously)
{
    int fds[30];

    START("--delay", "0.5");
    double asked = now();
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_SLOW);
    for (size_t i = 0; i < LENGTH(fds); i++)
        expect_slow(fds[i]);
    EXPECT(now() - asked < 7.5, "30 /slow of 0.5 s took %f s", now() - asked);
}
END_TEST

START_TEST(silent_client_delays_nobody_else)
{
    START("--timeout", LONG);
    int mute = dial(), half = dial_and_say("GET /fast HT");
    expect_served();
    EXPECT(silent(mute) && silent(half), "a silent client was closed too early");
    expect_no_busy_loop(0.2);
}
END_TEST

START_TEST(silent_client_delays_the_next_client)
{
    START("--timeout", "0.4");
    double since = now();
    int fd = dial();
    expect_served();
    EXPECT(now() - since > 0.35, "the next client was served after only %f s", now() - since);
    expect_end(fd);
}
END_TEST

/* A socket that was reported ready may no longer be (another worker has accepted the client).
 * However rare that is, an event loop must not block then. So look at the flags of its sockets. */
START_TEST(event_loop_sockets_are_nonblocking)
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
    EXPECT(sockets == 2, "%d sockets instead of a listener and a client", sockets);
}
END_TEST

void waiting_tests(void)
{
    begin_subject("waiting");
    add_test(slow_is_never_early, BLOCKING, LIBEV);
    add_test(fast_overtakes_slow, THREADED, LIBEV);
    add_test(fast_waits_for_slow, BLOCKING, BLOCKING);
    add_test(fast_waits_for_slow, SELECT, LIBEV);
    add_test(slow_requests_wait_simultaneously, THREADED, LIBEV);
    add_test(silent_client_delays_nobody_else, THREADED, LIBEV);
    add_test(silent_client_delays_the_next_client, BLOCKING, BLOCKING);
    add_test(event_loop_sockets_are_nonblocking, SELECT, LIBEV);
}

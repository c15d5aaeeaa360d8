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

void waiting_tests(void)
{
    begin_subject("waiting");
    add_test(slow_is_never_early, BLOCKING, LIBEV);
    add_test(fast_overtakes_slow, THREADED, LIBEV);
    add_test(fast_waits_behind_slow, BLOCKING, BLOCKING);
    add_test(fast_waits_behind_slow, SELECT, LIBEV);
    add_test(slow_ones_wait_together, THREADED, LIBEV);
    add_test(who_says_nothing_hinders_nobody, THREADED, LIBEV);
    add_test(who_says_nothing_owns_the_blocking_server, BLOCKING, BLOCKING);
    add_test(no_socket_of_a_loop_can_block, SELECT, LIBEV);
}

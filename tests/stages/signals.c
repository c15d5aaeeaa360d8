/* A signal arrives at a bad moment, or more than once. */
#include "tests/stages/subject.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Start a process that sends requests without end, or reads whatever arrives. */
static pid_t keep_on(int fd, bool sending)
{
    static char bytes[65536];
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i + sizeof GET_FAST <= sizeof bytes; i += sizeof GET_FAST - 1)
        memcpy(bytes + i, GET_FAST, sizeof GET_FAST - 1);
    size_t whole = sizeof bytes / (sizeof GET_FAST - 1) * (sizeof GET_FAST - 1);
    while ((sending ? send(fd, bytes, whole, MSG_NOSIGNAL) : recv(fd, bytes, sizeof bytes, 0)) > 0)
        ;
    _exit(0);
}

START_TEST(signal_while_the_loop_is_busy_is_not_lost)
{
    START("--timeout", LONG, "--delay", "0.5", "--block");
    int idle = dial_and_say(GET_FAST);
    expect_fast(idle);
    int slow = dial_and_say(GET_SLOW);
    pause_s(0.2); /* let it fall asleep in the loop; the test also holds if it has not */
    send_signal(SIGTERM);
    expect_slow(slow);
    expect_end(idle);
    expect_exit(0);
}
END_TEST

START_TEST(signal_reaches_a_loop_that_is_never_idle)
{
    pid_t pids[6];

    START("--timeout", LONG);
    for (size_t i = 0; i < LENGTH(pids); i += 2) {
        int fd = dial();
        pids[i] = keep_on(fd, true);
        pids[i + 1] = keep_on(fd, false);
    }
    pause_s(0.3);
    send_signal(SIGTERM);
    expect_exit(0);
    for (size_t i = 0; i < LENGTH(pids); i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
}
END_TEST

/* When the signals arrive, the server waits for the rest of a head, or for the end of /slow. */
START_TEST(second_sigint_ends_the_server_immediately)
{
    static const char *const requests[] = {GET_FAST "GET /fast HT", GET_FAST GET_SLOW};
    static const int first_signals[] = {SIGTERM, SIGINT};

    for (size_t i = 0; i < 4; i++, teardown()) {
        START("--timeout", LONG, "--delay", LONG);
        int before = descriptors_at_rest();
        int fd = dial_and_say(requests[i / 2] + (_i == BLOCKING ? strlen(GET_FAST) : 0));
        if (_i != BLOCKING)
            expect_fast(fd); /* one segment: the server has read both */
        expect_descriptors(before + 1);
        expect_asleep();
        send_signal(first_signals[i % 2]);
        expect_delivered(server.pid);
        if (_i != BLOCKING) /* 01 listens until it exits */
            expect_refusal();
        EXPECT(silent(fd), "the first signal ended the connection");
        send_signal(SIGINT);
        expect_killed_by(SIGINT);
        close(fd);
    }
}
END_TEST

/* The same while the server is in a call that blocks, or computes: in the trap, too. */
static void expect_end_by_second_sigint(int index, char *how, int first)
{
    start(index, (char *[]){"--port", "0", "--timeout", LONG, "--delay", LONG, how, NULL});
    int before = descriptors_at_rest();
    int fd = dial_and_say(GET_SLOW);
    expect_descriptors(before + 1);
    pause_s(0.1); /* let it begin; the test also holds if it has not */
    send_signal(first);
    expect_delivered(server.pid);
    EXPECT(silent(fd), "the first signal ended the connection");
    send_signal(SIGINT);
    expect_killed_by(SIGINT);
    close(fd);
    teardown();
}

START_TEST(second_sigint_ends_a_server_in_the_trap)
{
    static const int first_signals[] = {SIGTERM, SIGINT};

    for (size_t i = 0; i < LENGTH(first_signals); i++) {
        expect_end_by_second_sigint(_i, "--block", first_signals[i]);
        expect_end_by_second_sigint(_i, "--compute", first_signals[i]);
    }
}
END_TEST

/* Nobody reads what --verbose writes, so the server waits in the middle of a request. */
START_TEST(server_that_waits_for_the_reader_of_its_log_hears_signals)
{
    for (int twice = 0; twice <= 1; twice++, teardown()) {
        int reader = stderr_that_is_full();
        START("--verbose", "--timeout", LONG);
        int fd = dial_and_say(GET_FAST);
        expect_fast(fd);
        pause_s(0.1); /* let it begin to wait; the test also holds if it has not */
        send_signal(twice ? SIGINT : SIGTERM);
        if (twice) {
            expect_delivered(server.pid);
            if (!has_ended())
                kill(server.pid, SIGINT);
            wait_for_end();
        } else {
            expect_exit(0);
        }
        close(fd);
        close(reader);
    }
}
END_TEST

/* Some of the signals come so soon after each other that the server may not notice each; others are
 * more than 200 ms apart. */
START_TEST(repeated_sigterm_changes_nothing)
{
    static const int first_signals[] = {SIGTERM, SIGINT};

    for (size_t i = 0; i < LENGTH(first_signals); i++, teardown()) {
        START("--timeout", LONG, "--delay", "0.8");
        int before = descriptors_at_rest();
        int slow = dial_and_say(GET_SLOW);
        expect_descriptors(before + 1);
        send_signal(first_signals[i]);
        for (int again = 0; again < 5; again++) {
            pause_s(again < 3 ? 0.01 : 0.25);
            send_signal(SIGTERM);
        }
        expect_slow(slow);
        expect_end(slow);
        expect_exit(0);
    }
}
END_TEST

void signals_tests(void)
{
    begin_subject("signals");
    add_test(signal_while_the_loop_is_busy_is_not_lost, SELECT, LIBEV);
    add_test(signal_reaches_a_loop_that_is_never_idle, THREADED, LIBEV);
    add_test(second_sigint_ends_the_server_immediately, BLOCKING, LIBEV);
    add_test(second_sigint_ends_a_server_in_the_trap, BLOCKING, LIBEV);
    add_test(server_that_waits_for_the_reader_of_its_log_hears_signals, BLOCKING, LIBEV);
    add_test(repeated_sigterm_changes_nothing, BLOCKING, LIBEV);
}

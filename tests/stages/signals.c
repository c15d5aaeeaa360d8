/* A signal arrives at a bad moment, or more than once. */
#include "tests/stages/subject.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sends requests without end, or reads what comes, in a process of its own. */
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

START_TEST(a_signal_that_comes_while_the_loop_is_busy_is_not_lost)
{
    START("--timeout", LONG, "--delay", "0.5", "--block");
    int idle = dial_and_say(GET_FAST);
    expect_fast(idle);
    int slow = dial_and_say(GET_SLOW);
    pause_s(0.2); /* it sleeps in the loop now; all holds if it does not */
    kill(server.pid, SIGTERM);
    expect_slow(slow);
    expect_end(idle);
    expect_exit(0);
}
END_TEST

START_TEST(a_loop_that_is_never_idle_hears_a_signal)
{
    pid_t pids[6];

    START("--timeout", LONG);
    for (size_t i = 0; i < LENGTH(pids); i += 2) {
        int fd = dial();
        pids[i] = keep_on(fd, true);
        pids[i + 1] = keep_on(fd, false);
    }
    pause_s(0.3);
    kill(server.pid, SIGTERM);
    expect_exit(0);
    for (size_t i = 0; i < LENGTH(pids); i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
}
END_TEST

START_TEST(a_second_signal_ends_the_blocking_server)
{
    START("--timeout", LONG);
    int before = descriptors_at_rest();
    dial_and_say("GET /fast HT");
    expect_descriptors(before + 1);
    WAIT_UNTIL(strstr(status_of("State:"), "sleeping") != NULL, "has not read all that there is");
    kill(server.pid, SIGTERM);
    expect_killed_by_another();
}
END_TEST

/* A group of processes is often told twice: by who signals each, and by a parent that passes it on.
 * The server may be kept from hearing the second soon, so not each try has to succeed. */
START_TEST(a_signal_that_is_said_twice_is_one)
{
    bool one = false;

    for (int try = 0; try < 5 && !one; try++, teardown()) {
        START("--timeout", LONG, "--delay", "0.4");
        int before = descriptors_at_rest();
        int slow = dial_and_say(GET_SLOW);
        expect_descriptors(before + 1);
        kill(server.pid, SIGTERM);
        pause_s(0.01); /* the first is heard; else the kernel makes one of them */
        kill(server.pid, SIGTERM);
        int status = end_of_server();
        one = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        close(slow);
    }
    EXPECT(one, "the second ends it");
}
END_TEST

void signals_tests(void)
{
    begin_subject("signals");
    add_test(a_signal_that_comes_while_the_loop_is_busy_is_not_lost, SELECT, LIBEV);
    add_test(a_loop_that_is_never_idle_hears_a_signal, THREADED, LIBEV);
    add_test(a_second_signal_ends_the_blocking_server, BLOCKING, BLOCKING);
    add_test(a_signal_that_is_said_twice_is_one, BLOCKING, LIBEV);
}

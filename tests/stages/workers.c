/* Several processes that share the port (--workers). */
#include "tests/stages/subject.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

START_TEST(workers_share_the_port)
{
    pid_t pids[8];
    int fds[40];

    START("--workers", "3", "--timeout", LONG);
    WAIT_UNTIL(children_of(server.pid, pids, 8) == 3, "does not have three workers");
    for (size_t i = 0; i < LENGTH(fds); i++) {
        fds[i] = dial_and_say(GET_FAST);
        expect_fast(fds[i]);
    }
    /* No client connects now, so a worker that blocks in accept would serve nobody. */
    for (size_t i = 0; i < LENGTH(fds) && _i != BLOCKING; i++) {
        say(fds[i], GET_FAST);
        expect_fast(fds[i]);
    }
    send_signal(SIGTERM);
    expect_exit(0);
}
END_TEST

START_TEST(dead_worker_is_replaced)
{
    pid_t pids[8], dead;

    START("--workers", "2");
    WAIT_UNTIL(children_of(server.pid, pids, 8) == 2, "does not have two workers");
    dead = pids[0];
    kill(dead, SIGKILL);
    WAIT_UNTIL(strstr(written(server.log), "was killed by signal 9") != NULL,
               "does not report the death of the worker");
    WAIT_UNTIL(children_of(server.pid, pids, 8) == 2 && pids[0] != dead && pids[1] != dead,
               "does not replace the worker");
    expect_served();
    send_signal(SIGINT);
    expect_exit(0);
}
END_TEST

START_TEST(workers_answer_requests_in_flight_before_exit)
{
    pid_t pids[8];
    int fds[20];

    START("--workers", "2", "--delay", "0.5", "--timeout", LONG);
    WAIT_UNTIL(children_of(server.pid, pids, 8) == 2, "does not have two workers");
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_SLOW);
    pause_s(0.1);
    send_signal(SIGTERM);
    for (size_t i = 0; i < LENGTH(fds); i++)
        expect_slow(fds[i]);
    expect_exit(0);
}
END_TEST

void workers_tests(void)
{
    begin_subject("workers");
    add_test(workers_share_the_port, BLOCKING, LIBEV);
    add_test(dead_worker_is_replaced, BLOCKING, LIBEV);
    add_test(workers_answer_requests_in_flight_before_exit, THREADED, LIBEV);
}

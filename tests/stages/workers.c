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

/* Send a signal to the parent; if all, also to both workers. */
static void send_signal_to(bool all, const pid_t workers[2], int number)
{
    send_signal(number);
    for (int i = 0; i < 2 && all; i++)
        kill(workers[i], number); /* fails if the worker has exited */
}

/* Start two workers, and let one of them be busy with /slow. Return the connection. */
static int start_with_one_busy(int index, char *delay, pid_t workers[2])
{
    start(index,
          (char *[]){"--port", "0", "--workers", "2", "--timeout", LONG, "--delay", delay, NULL});
    WAIT_UNTIL(children_of(server.pid, workers, 2) == 2, "does not have two workers");
    int slow = dial_and_say(GET_SLOW);
    /* A worker of 01 that is told to stop accepts no client any more. */
    WAIT_UNTIL(descriptors_of(workers[0]) != descriptors_of(workers[1]), "no worker accepts");
    return slow;
}

/* timeout(1) and service managers signal the parent and its workers, and the parent passes the
 * signal on. */
START_TEST(repeated_sigterm_changes_nothing_for_workers)
{
    pid_t workers[2];

    for (int all = 0; all <= 1; all++, teardown()) {
        int slow = start_with_one_busy(_i, "0.8", workers);
        send_signal_to(all, workers, SIGTERM);
        for (int again = 0; again < 5; again++) {
            pause_s(again < 3 ? 0.01 : 0.25);
            send_signal_to(all, workers, SIGTERM);
        }
        expect_slow(slow);
        expect_end(slow);
        expect_exit(0);
    }
}
END_TEST

/* A worker that is told to stop makes the listener non-blocking, and the parent makes it blocking
 * again when it starts a worker: here, before the first has closed it. */
START_TEST(worker_hears_sigterm_again_in_accept)
{
    pid_t workers[2];
    int slow = start_with_one_busy(_i, LONG, workers);
    bool first = descriptors_of(workers[0]) > descriptors_of(workers[1]);
    pid_t busy = workers[first ? 0 : 1], other = workers[first ? 1 : 0];
    int open = descriptors_of(busy);

    limit_descriptors_of(busy, lowest_free_descriptor_of(busy)); /* accept fails again and again */
    kill(busy, SIGTERM);
    expect_delivered(busy);
    kill(other, SIGKILL);
    WAIT_UNTIL(children_of(server.pid, workers, 2) == 2 && workers[0] != other &&
                   workers[1] != other,
               "does not replace the worker");
    pause_s(0.2); /* let the new worker start; the test also holds if it has not */
    limit_descriptors_of(busy, 1000);
    pause_s(0.2); /* and the busy one block in accept */
    EXPECT(descriptors_of(busy) == open, "does not try again to accept");
    kill(busy, SIGTERM);
    WAIT_UNTIL(descriptors_of(busy) == open - 1, "does not close the listener");
    kill(busy, SIGKILL); /* the end of its parent would not end it */
    close(slow);
}
END_TEST

START_TEST(second_sigint_ends_the_workers_immediately)
{
    pid_t workers[2], left[2];

    for (int all = 0; all <= 1; all++, teardown()) {
        int slow = start_with_one_busy(_i, LONG, workers);
        send_signal(all ? SIGTERM : SIGINT);
        WAIT_UNTIL(children_of(server.pid, left, 2) == 1, "an idle worker does not exit");
        expect_delivered(left[0]);
        if (_i != BLOCKING) /* 01 listens until it exits */
            expect_refusal();
        EXPECT(silent(slow), "the first signal ended the connection");
        send_signal_to(all, workers, SIGINT);
        expect_exit(1); /* a worker did not finish */
        EXPECT(strstr(written(server.log), "was killed by signal 2") != NULL,
               "the worker was not killed by SIGINT");
        close(slow);
    }
}
END_TEST

void workers_tests(void)
{
    begin_subject("workers");
    add_test(workers_share_the_port, BLOCKING, LIBEV);
    add_test(dead_worker_is_replaced, BLOCKING, LIBEV);
    add_test(workers_answer_requests_in_flight_before_exit, THREADED, LIBEV);
    add_test(repeated_sigterm_changes_nothing_for_workers, BLOCKING, LIBEV);
    add_test(worker_hears_sigterm_again_in_accept, THREADED, THREADED);
    add_test(second_sigint_ends_the_workers_immediately, BLOCKING, LIBEV);
}

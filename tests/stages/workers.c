/* Several processes that share the port (--workers). */
#include "tests/stages/subject.h"

#include <fcntl.h>
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

static void stop_process(pid_t pid)
{
    kill(pid, SIGSTOP);
    WAIT_UNTIL(strstr(status_of(pid, "State:"), "stopped") != NULL, "a worker does not stop");
}

/* Clients that have sent nothing yet wait in the backlog, which two workers share. One of them is
 * told to stop: it must not take clients from the backlog, only to close them. */
START_TEST(worker_that_leaves_takes_no_client_along)
{
    pid_t workers[2], left[2];
    int fds[8];

    START("--workers", "2", "--timeout", LONG);
    WAIT_UNTIL(children_of(server.pid, workers, 2) == 2, "does not have two workers");
    expect_served();
    for (int i = 0; i < 2; i++)
        stop_process(workers[i]);
    pause_s(
        0.1); /* else a busy worker takes one more client before it looks for signals (stop_poll) */
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial();
    kill(workers[0], SIGTERM);
    kill(workers[0], SIGCONT);
    WAIT_UNTIL(children_of(server.pid, left, 2) < 2 || left[0] != workers[0],
               "the worker does not exit");
    pause_s(0.1); /* let the parent say so; the test also holds if it has not */
    kill(workers[1], SIGCONT);
    for (size_t i = 0; i < LENGTH(fds); i++) {
        say(fds[i], GET_FAST_CLOSE);
        expect_close(fds[i], expect_fast(fds[i]));
    }
    pause_s(0.1); /* let a worker that went along exit */
    EXPECT(strstr(status_of(workers[1], "PPid:"), "\t") != NULL, "the other worker went along");
}
END_TEST

/* A service manager may signal all processes, and the workers first. No client in the backlog is
 * lost, though each worker leaves it to the others. */
START_TEST(workers_told_before_their_parent_drain_the_backlog)
{
    pid_t workers[2];
    int fds[8];

    START("--workers", "2", "--timeout", LONG);
    WAIT_UNTIL(children_of(server.pid, workers, 2) == 2, "does not have two workers");
    expect_served();
    for (int i = 0; i < 2; i++)
        stop_process(workers[i]);
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_FAST);
    suspend(); /* the parent */
    for (int i = 0; i < 2; i++) {
        kill(workers[i], SIGTERM);
        kill(workers[i], SIGCONT);
    }
    for (int i = 0; i < 2; i++)
        WAIT_UNTIL(strstr(status_of(workers[i], "State:"), "zombie") != NULL,
                   "a worker does not exit");
    send_signal(SIGTERM);
    send_signal(SIGCONT);
    for (size_t i = 0; i < LENGTH(fds); i++) {
        expect_fast(fds[i]);
        expect_end(fds[i]);
    }
    expect_exit(0);
}
END_TEST

/* A stopped process hears no SIGTERM until it goes on. */
START_TEST(stopped_worker_hears_sigterm)
{
    pid_t workers[2];

    START("--workers", "2", "--timeout", LONG);
    WAIT_UNTIL(children_of(server.pid, workers, 2) == 2, "does not have two workers");
    expect_served();
    stop_process(workers[0]);
    send_signal(SIGTERM);
    expect_exit(0);
}
END_TEST

/* The parent reports the death of a worker, but the reader of its stderr has left. */
START_TEST(parent_outlives_the_reader_of_its_log)
{
    pid_t workers[2], next[2];
    int ends[2];

    EXPECT(pipe2(ends, O_CLOEXEC) == 0, "pipe: %m");
    close(ends[0]);
    server.stderr_to = ends[1];
    START("--workers", "2");
    WAIT_UNTIL(children_of(server.pid, workers, 2) == 2, "does not have two workers");
    kill(workers[0], SIGKILL);
    WAIT_UNTIL(children_of(server.pid, next, 2) == 2 && next[0] != workers[0] &&
                   next[1] != workers[0],
               "does not replace the worker");
    expect_served();
    close(ends[1]);
    send_signal(SIGTERM);
    expect_exit(0);
}
END_TEST

/* The parent must go on to supervise, even if nobody reads what it says. */
START_TEST(parent_does_not_wait_for_the_reader_of_its_log)
{
    pid_t workers[2], next[2];
    int reader = stderr_that_is_full();

    START("--workers", "2");
    WAIT_UNTIL(children_of(server.pid, workers, 2) == 2, "does not have two workers");
    kill(workers[0], SIGKILL);
    WAIT_UNTIL(children_of(server.pid, next, 2) == 2 && next[0] != workers[0] &&
                   next[1] != workers[0],
               "does not replace the worker");
    send_signal(SIGTERM);
    expect_exit(0);
    close(reader);
}
END_TEST

/* Read what has been written to a pipe with O_DIRECT: each write is a packet (pipe(2)). Return the
 * number of packets, each of which must be one line. */
static int count_lines(int fd)
{
    char packet[512];
    int count = 0;

    for (ssize_t n; (n = read(fd, packet, sizeof packet)) > 0; count++)
        EXPECT(memchr(packet, '\n', (size_t)n) == packet + n - 1,
               "a write of %zd bytes is not one line", n);
    return count;
}

/* Each line of stderr is one write, or those of several workers and of their parent would mix. */
START_TEST(lines_of_workers_do_not_mix)
{
    pid_t pids[2];
    int ends[2], count = 0;

    EXPECT(pipe2(ends, O_CLOEXEC | O_DIRECT | O_NONBLOCK) == 0, "pipe: %m");
    server.stderr_to = ends[1];
    START("--workers", "2", "--verbose");
    WAIT_UNTIL(children_of(server.pid, pids, 2) == 2, "does not have two workers");
    for (size_t i = 0; i < 5; i++)
        expect_served();
    WAIT_UNTIL((count += count_lines(ends[0])) == 5, "logs %d lines", count);
    kill(pids[0], SIGKILL);
    WAIT_UNTIL((count += count_lines(ends[0])) == 6, "logs %d lines", count);
    close(ends[0]);
    close(ends[1]);
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
    add_test(worker_that_leaves_takes_no_client_along, BLOCKING, LIBEV);
    add_test(workers_told_before_their_parent_drain_the_backlog, THREADED, LIBEV);
    add_test(stopped_worker_hears_sigterm, BLOCKING, LIBEV);
    add_test(parent_outlives_the_reader_of_its_log, BLOCKING, LIBEV);
    add_test(parent_does_not_wait_for_the_reader_of_its_log, BLOCKING, LIBEV);
    add_test(lines_of_workers_do_not_mix, BLOCKING, LIBEV);
    add_test(second_sigint_ends_the_workers_immediately, BLOCKING, LIBEV);
}

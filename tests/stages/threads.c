/* --threads and --compute: the pool beside a loop (03 to 06). */
#include "tests/stages/subject.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

START_TEST(pool_serves_two_at_a_time)
{
    int fds[5];

    START("--block", "--threads", "2", "--delay", "1.5");
    double asked = now();
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_SLOW);
    expect_served();
    EXPECT(silent(fds[0]) && silent(fds[4]), "/fast waited for the pool");
    for (size_t i = 0; i < LENGTH(fds); i++)
        expect_slow(fds[i]);
    double took = now() - asked;
    EXPECT(took >= 4.5, "five /slow of 1.5 s took only %f s", took);
    EXPECT(took < 7.5, "five /slow of 1.5 s took %f s: one after the other", took);
}
END_TEST

START_TEST(fast_overtakes_a_full_pool)
{
    int fds[4];

    START("--block", "--threads", "2", "--delay", LONG);
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_SLOW);
    expect_served();
    for (size_t i = 0; i < LENGTH(fds); i++)
        EXPECT(silent(fds[i]), "/slow was answered too early");
    expect_no_busy_loop(0.2);
}
END_TEST

static int port_of(int fd)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;

    EXPECT(getsockname(fd, (struct sockaddr *)&address, &size) == 0, "getsockname: %m");
    return ntohs(address.sin_port);
}

/* The log of --verbose tells the order of the responses. */
START_TEST(job_queue_is_first_in_first_out)
{
    int fds[6];

    START("--block", "--threads", "1", "--delay", "0.1", "--verbose");
    for (size_t i = 0; i < LENGTH(fds); i++) {
        fds[i] = dial_and_say(GET_SLOW);
        expect_served(); /* its request has been read by now: its job is in the queue */
    }
    for (size_t i = 0; i < LENGTH(fds); i++)
        expect_slow(fds[i]);
    expect_served(); /* the last response has been logged by now */
    const char *at = written(server.log);
    for (size_t i = 0; i < LENGTH(fds); i++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, ":%d \"GET /slow", port_of(fds[i]));
        const char *found = strstr(at, wanted);
        if (found == NULL)
            ck_abort_msg("%s: response %zu was overtaken", stage, i);
        at = found;
    }
}
END_TEST

/* Jobs without a delay finish while the loop collects others: a wake-up that is lost then would
 * leave a client without its response. */
START_TEST(no_result_is_lost)
{
    int fds[16];

    START("--block", "--threads", "8", "--delay", "0");
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial();
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < LENGTH(fds); i++)
            say(fds[i], GET_SLOW);
        for (size_t i = 0; i < LENGTH(fds); i++)
            expect_slow(fds[i]);
    }
}
END_TEST

START_TEST(pipelined_requests_wait_for_their_job)
{
    START("--block", "--threads", "2", "--delay", "0.2");
    int fd = dial_and_say(GET_SLOW GET_FAST GET_SLOW GET_FAST_CLOSE);
    expect_slow(fd);
    expect_fast(fd);
    expect_slow(fd);
    expect_close(fd, expect_fast(fd));
}
END_TEST

/* The connection of a client that has left stays open until its job is done, and its descriptor is
 * not given to another client meanwhile. */
START_TEST(client_that_leaves_its_job_harms_nobody)
{
    START("--block", "--threads", "1", "--delay", "0.3");
    int at_rest = descriptors_at_rest();
    for (int again = 0; again < 3; again++) {
        int gone = dial_and_say(GET_SLOW), halved = dial_and_say(GET_SLOW), next;
        expect_received(gone);
        expect_served();
        reset(gone);
        half_close(halved);
        next = dial_and_say(GET_FAST);
        expect_fast(next);
        expect_no_busy_loop(0.1);
        expect_slow(halved);
        EXPECT(silent(next), "a client got a response that it had not asked for");
        close(halved);
        close(next);
    }
    expect_descriptors(at_rest);
}
END_TEST

/* Each connection has one job at most, and stays open for it. So there are never more jobs than
 * connections: clients that leave do not make room for others whose jobs would pile up. */
START_TEST(jobs_are_bounded_by_connections)
{
    int fds[4];

    START("--block", "--threads", "1", "--delay", LONG, "--timeout", LONG);
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_SLOW);
    int idle = dial_and_say(GET_FAST);
    expect_fast(idle); /* all requests have been read by now */
    limit_descriptors(lowest_free_descriptor());
    for (size_t i = 0; i < LENGTH(fds); i++)
        reset(fds[i]);
    int next = dial_and_say(GET_FAST);
    pause_s(0.2);
    EXPECT(silent(next), "a client that has left made room, but its job is still there");
    expect_no_busy_loop(0.1);
}
END_TEST

START_TEST(shutdown_waits_for_all_jobs)
{
    int fds[3];

    START("--block", "--threads", "1", "--delay", "0.3");
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_SLOW);
    expect_served();
    send_signal(SIGTERM);
    for (size_t i = 0; i < LENGTH(fds); i++)
        expect_close(fds[i], expect_slow(fds[i]));
    expect_exit(0);
}
END_TEST

/* The signal arrives while hundreds of jobs wait in the queue. Each client gets one response, and
 * then the end of its connection. */
START_TEST(shutdown_loses_no_job_of_many)
{
    enum { CLIENTS = 900, BEFORE = 300 };
    int fds[CLIENTS];

    START("--block", "--threads", "8", "--delay", "0.003", "--timeout", LONG);
    for (size_t i = 0; i < CLIENTS; i++)
        fds[i] = dial_and_say(GET_SLOW);
    for (size_t i = 0; i < BEFORE; i++)
        expect_slow(fds[i]);
    send_signal(SIGTERM);
    for (size_t i = BEFORE; i < CLIENTS; i++)
        expect_slow(fds[i]);
    for (size_t i = 0; i < CLIENTS; i++)
        expect_end(fds[i]);
    expect_exit(0);
}
END_TEST

START_TEST(each_worker_has_a_pool)
{
    int fds[4];

    START("--block", "--threads", "1", "--delay", "0.2", "--workers", "2");
    for (size_t i = 0; i < LENGTH(fds); i++)
        fds[i] = dial_and_say(GET_SLOW);
    for (size_t i = 0; i < LENGTH(fds); i++)
        expect_slow(fds[i]);
    send_signal(SIGTERM);
    expect_exit(0);
}
END_TEST

START_TEST(computing_uses_the_processor)
{
    START("--compute", "--delay", "0.3");
    double before = cpu_s();
    int fd = dial_and_say(GET_SLOW_CLOSE);
    expect_slow(fd);
    expect_end(fd);
    double used = cpu_s() - before;
    EXPECT(used >= 0.28, "/slow used %f of 0.3 s", used); /* ticks are coarse */
}
END_TEST

START_TEST(computing_delays_everybody_else)
{
    START("--compute", "--delay", "0.3");
    int slow = dial_and_say(GET_SLOW);
    expect_served();
    EXPECT(!silent(slow), "/fast overtook /slow");
}
END_TEST

START_TEST(computing_delays_nobody_else)
{
    START("--compute", "--delay", LONG, _i == THREADED ? NULL : "--threads", "1");
    int slow = dial_and_say(GET_SLOW);
    expect_served();
    EXPECT(silent(slow), "/slow was answered too early");
}
END_TEST

START_TEST(threads_that_make_no_sense_are_refused)
{
    spawn(_i, (char *[]){"--threads", "3", NULL});
    expect_exit(2);
    EXPECT(strstr(written(server.log), "--threads 3: ") != NULL, "does not name --threads 3");
    teardown();
    spawn(_i, (char *[]){"--threads", "0", NULL});
    expect_exit(2);
    EXPECT(strstr(written(server.log), "--threads 0: ") != NULL, "does not name --threads 0");
}
END_TEST

/* N processes that serve a client each teach what N threads in 02 would. */
START_TEST(stage_without_a_pool_refuses_threads)
{
    spawn(_i, (char *[]){"--block", "--threads", "3", NULL});
    expect_exit(2);
    EXPECT(strstr(written(server.log), "--threads 3: ") && strstr(written(server.log), "--workers"),
           "does not say what to do instead");
}
END_TEST

void threads_tests(void)
{
    begin_subject("threads");
    add_test(pool_serves_two_at_a_time, SELECT, LIBEV);
    add_test(fast_overtakes_a_full_pool, SELECT, LIBEV);
    add_test(job_queue_is_first_in_first_out, SELECT, LIBEV);
    add_test(no_result_is_lost, SELECT, LIBEV);
    add_test(pipelined_requests_wait_for_their_job, SELECT, LIBEV);
    add_test(client_that_leaves_its_job_harms_nobody, SELECT, LIBEV);
    add_test(jobs_are_bounded_by_connections, SELECT, LIBEV);
    add_test(shutdown_waits_for_all_jobs, SELECT, LIBEV);
    add_test(shutdown_loses_no_job_of_many, SELECT, LIBEV);
    add_test(each_worker_has_a_pool, SELECT, LIBEV);
    add_test(computing_uses_the_processor, BLOCKING, LIBEV);
    add_test(computing_delays_everybody_else, BLOCKING, BLOCKING);
    add_test(computing_delays_everybody_else, SELECT, LIBEV);
    add_test(computing_delays_nobody_else, THREADED, LIBEV);
    add_test(threads_that_make_no_sense_are_refused, BLOCKING, LIBEV);
    add_test(stage_without_a_pool_refuses_threads, BLOCKING, THREADED);
}

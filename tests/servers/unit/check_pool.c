/* common/pool.h: each job is run once, in order, and no wake-up is lost. */
#include "common/pool.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { JOBS = 10000, PATIENCE_MS = 15000 };

static struct task {
    struct pool_job job; /* first: a job is its task */
    int runs, collected;
    pthread_t thread;
    int before; /* the task that its thread ran before; -1: none */
} tasks[JOBS];

static int number_of(struct pool_job *job)
{
    return (int)((struct task *)job - tasks);
}

static void record(struct pool_job *job)
{
    static _Thread_local int before = -1;
    struct task *task = (struct task *)job;

    task->runs++;
    task->thread = pthread_self();
    task->before = before;
    before = number_of(job);
    if (before % 1000 == 0) /* let the loop catch up: the next result wakes it again */
        usleep(2000);
}

static void submit(int first, int last)
{
    for (int i = first; i < last; i++) {
        tasks[i] = (struct task){.job = {.run = record}};
        pool_submit(&tasks[i].job);
    }
}

static int collect(void)
{
    int count = 0;

    for (struct pool_job *job; (job = pool_collect()) != NULL; count++)
        tasks[number_of(job)].collected++;
    return count;
}

/* Collect as a loop does: wait for the descriptor each time. */
static void collect_all(int fd, int wanted)
{
    struct pollfd results = {.fd = fd, .events = POLLIN};

    while (wanted > 0) {
        ck_assert_msg(poll(&results, 1, PATIENCE_MS) == 1, "no wake-up for %d results", wanted);
        wanted -= collect();
    }
    ck_assert_int_eq(wanted, 0);
}

START_TEST(each_job_is_done_once)
{
    int fd = pool_start(8), left = JOBS;

    for (int first = 0; first < JOBS; first += JOBS / 100) {
        submit(first, first + JOBS / 100);
        left -= collect(); /* while threads are at work */
    }
    collect_all(fd, left);
    for (int i = 0; i < JOBS; i++) {
        ck_assert_int_eq(tasks[i].runs, 1);
        ck_assert_int_eq(tasks[i].collected, 1);
    }
}
END_TEST

START_TEST(share_of_each_thread_is_in_order)
{
    int fd = pool_start(8);

    submit(0, JOBS);
    collect_all(fd, JOBS);
    for (int i = 0; i < JOBS; i++)
        ck_assert_msg(tasks[i].before < i, "job %d was run after %d", i, tasks[i].before);
}
END_TEST

START_TEST(one_thread_runs_jobs_in_order)
{
    int fd = pool_start(1);

    submit(0, JOBS);
    collect_all(fd, JOBS);
    for (int i = 0; i < JOBS; i++)
        ck_assert_int_eq(tasks[i].before, i - 1);
}
END_TEST

START_TEST(loop_is_left_alone_once_everything_is_collected)
{
    int fd = pool_start(4);
    struct pollfd results = {.fd = fd, .events = POLLIN};

    ck_assert_int_eq(poll(&results, 1, 50), 0);
    submit(0, 100);
    collect_all(fd, 100);
    int wakes = 0; /* each thread may still wake us once, for a result that has been collected */
    while (wakes <= 4 && poll(&results, 1, 50) == 1) {
        wakes++;
        ck_assert_int_eq(collect(), 0);
    }
    ck_assert_int_le(wakes, 4);
}
END_TEST

static sigset_t blocked;

static void look_at_signals(struct pool_job *job)
{
    (void)job;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
}

START_TEST(signals_are_left_to_the_loop)
{
    sigset_t own;
    int fd = pool_start(1);

    tasks[0].job.run = look_at_signals;
    pool_submit(&tasks[0].job);
    collect_all(fd, 1);
    ck_assert_int_eq(sigismember(&blocked, SIGTERM), 1);
    ck_assert_int_eq(sigismember(&blocked, SIGINT), 1);
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    ck_assert_int_eq(sigismember(&own, SIGTERM), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("check_pool");
    TCase *tests = tcase_create("pool");

    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, each_job_is_done_once);
    tcase_add_test(tests, share_of_each_thread_is_in_order);
    tcase_add_test(tests, one_thread_runs_jobs_in_order);
    tcase_add_test(tests, loop_is_left_alone_once_everything_is_collected);
    tcase_add_test(tests, signals_are_left_to_the_loop);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

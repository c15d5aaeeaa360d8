/* The six servers from outside, over real sockets. Each test runs against each stage that it is
 * for.
 *
 *     build/check_stages                            all six stages simultaneously
 *     STAGE=05-epoll build/check_stages             one stage
 *     CK_RUN_CASE=signals build/check_stages        one subject: the tests of signals.c
 *     TEST=fast_overtakes_slow build/check_stages   one test
 *     STAGE=05-epoll PROGRAM=build/07-mine build/check_stages
 *                                                   another program, by the tests for that stage
 *
 * However it ends, by itself or by a signal, it first ends every process that it has started.
 *
 * The servers are those in the folder of this program, so a sanitizer build tests its own. The
 * tests check order rather than time: something that must not have happened yet would take longer
 * (LONG) than any machine needs for a step (PATIENCE_S). Where time itself is the subject, only its
 * lower bound is exact. */
#include "tests/stages/subject.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    int stage;
    Suite *suite;
    TCase *subject;
    const char *only; /* the one test that is wanted; NULL: all */
    bool found;
} building;

void begin_subject(const char *name)
{
    building.subject = tcase_create(name);
    tcase_set_timeout(building.subject, 60);
    tcase_add_checked_fixture(building.subject, NULL, teardown);
    suite_add_tcase(building.suite, building.subject);
}

void add_test(const TTest *test, int first, int last)
{
    if (building.only != NULL && strcmp(building.only, test->name) != 0)
        return;
    building.found = true;
    if (building.stage >= first && building.stage <= last)
        tcase_add_loop_test(building.subject, test, building.stage, building.stage + 1);
}

static Suite *build_suite(int index)
{
    building.stage = index;
    building.suite = suite_create(stages[index]);
    http_tests();
    keep_alive_tests();
    waiting_tests();
    slow_clients_tests();
    leaving_clients_tests();
    resources_tests();
    signals_tests();
    shutdown_tests();
    threads_tests();
    workers_tests();
    command_line_tests();
    return building.suite;
}

/* Test one stage. Return the exit status. */
static int run(int index)
{
    static char buffer[1 << 16];
    SRunner *runner = srunner_create(build_suite(index));

    srunner_run_all(runner, CK_SILENT);
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer); /* write all results in one piece */
    printf("%s: ", stages[index]);
    srunner_print(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

/* Start a process that tests one stage. Return its number, or -1. */
static pid_t start_run(int index, const sigset_t *mask)
{
    pid_t pid = fork();

    if (pid < 0)
        perror("check_stages: fork");
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0); /* let Ctrl-C reach the parent alone, which kills us */
    sigprocmask(SIG_SETMASK, mask, NULL);
    exit(run(index));
}

/* A process has ended: if it tested a stage, that one no longer runs. Return true if it failed. */
static bool end_run(pid_t pid, int status, pid_t runs[], int *running)
{
    for (int i = 0; i <= LIBEV; i++)
        if (runs[i] == pid) {
            runs[i] = 0;
            --*running;
            if (WIFSIGNALED(status))
                fprintf(stderr, "%s: killed by signal %d\n", stages[i], WTERMSIG(status));
            return status != 0;
        }
    return false; /* an orphan of a test */
}

/* Kill every process below this one. An orphan has become our child (PR_SET_CHILD_SUBREAPER). */
static void kill_all(void)
{
    pid_t pids[64];

    for (int n; (n = children_of(getpid(), pids, LENGTH(pids))) > 0;)
        for (int i = 0; i < n; i++) {
            kill(pids[i], SIGKILL);
            waitpid(pids[i], NULL, 0);
        }
}

/* Test the stages from first to last simultaneously. Return the exit status. */
static int run_stages(int first, int last)
{
    static const int numbers[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP};
    pid_t runs[LIBEV + 1] = {0};
    sigset_t signals, mask;
    int running = 0, number = 0, status;
    bool failed = false;

    sigemptyset(&signals);
    for (size_t i = 0; i < LENGTH(numbers); i++)
        sigaddset(&signals, numbers[i]);
    sigprocmask(SIG_BLOCK, &signals, &mask);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int i = first; i <= last; i++) {
        runs[i] = start_run(i, &mask);
        running += runs[i] > 0;
        failed |= runs[i] < 0;
    }
    while (running > 0 && (number <= 0 || number == SIGCHLD)) {
        number = sigwaitinfo(&signals, NULL);
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            failed |= end_run(pid, status, runs, &running);
    }
    kill_all();
    return running > 0 ? 128 + number : failed;
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && *value != '\0' ? value : NULL;
}

/* Test one stage, or another program by the tests for that stage. Return the exit status. */
static int run_one(int index)
{
    program = environment("PROGRAM");
    if (program != NULL) {
        const char *slash = strrchr(program, '/');
        stages[index] = slash != NULL ? slash + 1 : program;
    }
    return run_stages(index, index);
}

int main(void)
{
    const char *wanted = environment("STAGE");

    building.only = environment("TEST");
    srunner_free(srunner_create(build_suite(BLOCKING)));
    if (building.only != NULL && !building.found) {
        fprintf(stderr, "check_stages: TEST=%s: no such test\n", building.only);
        return 2;
    }
    if (wanted == NULL && environment("PROGRAM") != NULL) {
        fprintf(stderr, "check_stages: PROGRAM=%s: of which STAGE are the tests?\n",
                getenv("PROGRAM"));
        return 2;
    }
    if (wanted == NULL)
        return run_stages(BLOCKING, LIBEV);
    for (int i = BLOCKING; i <= LIBEV; i++)
        if (strcmp(wanted, stages[i]) == 0)
            return run_one(i);
    fprintf(stderr, "check_stages: STAGE=%s: no such stage\n", wanted);
    return 2;
}

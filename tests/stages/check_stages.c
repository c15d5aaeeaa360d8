/* The six servers from outside, over real sockets. Each test runs against each stage that it is
 * for.
 *
 *     build/check_stages                            all six stages simultaneously
 *     STAGE=05-epoll build/check_stages             one stage
 *     CK_RUN_CASE=signals build/check_stages        one subject: the tests of signals.c
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
    if (building.stage >= first && building.stage <= last)
        tcase_add_loop_test(building.subject, test, building.stage, building.stage + 1);
}

/* Return the exit status. */
static int run(int index)
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

    SRunner *runner = srunner_create(building.suite);
    srunner_run_all(runner, CK_SILENT);
    printf("%s: ", stages[index]); /* followed by all of its results, in one piece */
    srunner_print(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

int main(void)
{
    const char *wanted = getenv("STAGE");
    int failed = 0, status;

    if (wanted != NULL && *wanted != '\0') {
        for (int i = 0; i <= LIBEV; i++)
            if (strcmp(wanted, stages[i]) == 0)
                return run(i);
        fprintf(stderr, "check_stages: STAGE=%s: no such stage\n", wanted);
        return 2;
    }
    for (int i = 0; i <= LIBEV; i++)
        switch (fork()) {
        case 0:
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            return run(i);
        case -1:
            perror("check_stages: fork");
            failed = 1;
        }
    while (wait(&status) > 0)
        failed |= status != 0;
    return failed;
}

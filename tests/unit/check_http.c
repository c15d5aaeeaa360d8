/* common/http.h: the parser and the formatter, and that they are pure functions. */
#include "tests/unit/http.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

char *wall;

static void build_wall(void)
{
    char *room = mmap(NULL, 2 * ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(room, MAP_FAILED);
    wall = room + ROOM;
    ck_assert_int_eq(mprotect(wall, ROOM, PROT_NONE), 0);
}

TCase *http_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);

    tcase_add_checked_fixture(tests, build_wall, NULL);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return tests;
}

bool parse(struct http_request *r, const char *bytes, size_t arrived)
{
    return http_parse(r, memcpy(wall - arrived, bytes, arrived), arrived);
}

const char *fill(const char *begin, size_t length, const char *end)
{
    static char head[ROOM];

    memset(head, 'a', length);
    memcpy(head, begin, strlen(begin));
    memcpy(head + length - strlen(end), end, strlen(end));
    return head;
}

/* ---- No I/O: http.h promises it. In seccomp's strict mode the kernel kills a process that makes a
 * system call other than read, write, sigreturn and exit (seccomp(2)). */

static void do_nothing(void)
{
}

static void open_a_file(void)
{
    open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Return the wait status of a child that calls the function in strict mode. */
static int call_strictly(void (*function)(void))
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
            _exit(EXIT_FAILURE);
        function();
        syscall(SYS_exit, EXIT_SUCCESS); /* _exit would call exit_group, which is forbidden */
    }
    if (child > 0)
        waitpid(child, &status, 0);
    return status;
}

/* The wait statuses of the children. */
static struct {
    int nothing, opening, http;
} strict;

START_TEST(opening_a_file_does_not_survive_strict_mode)
{
    ck_assert(WIFSIGNALED(strict.opening));
    ck_assert_int_eq(WTERMSIG(strict.opening), SIGKILL);
}
END_TEST

START_TEST(http_survives_strict_mode)
{
    ck_assert_msg(strict.http == 0, "wait status %#x", strict.http);
}
END_TEST

static void add_purity_tests(Suite *suite)
{
    if (strict.nothing != 0) {
        puts("check_http: without the tests of I/O: seccomp's strict mode does not work here");
        return;
    }
    TCase *tests = http_case(suite, "no I/O");
    tcase_add_test(tests, opening_a_file_does_not_survive_strict_mode);
    tcase_add_test(tests, http_survives_strict_mode);
}

int main(void)
{
    /* Before anything else: the C library reads the file of the time zone once in a process. */
    unsetenv("TZ");
    strict.http = call_strictly(answer_examples);
    strict.nothing = call_strictly(do_nothing);
    strict.opening = call_strictly(open_a_file);

    Suite *suite = suite_create("http");
    add_request_tests(suite);
    add_response_tests(suite);
    add_purity_tests(suite);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

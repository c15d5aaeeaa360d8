/* common/http.h: the parser and the formatter, and that they are pure functions. */
#include "tests/servers/unit/http.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
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

/* ---- Purity: http.h promises functions without I/O. In a child process, seccomp(2) makes the
 * kernel kill the process at its first system call other than exit. The functions must survive
 * that. */

static void do_nothing(void)
{
}

static void make_a_system_call(void)
{
    getppid();
}

static bool forbid_system_calls(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL),
    };
    struct sock_fprog program = {COUNT(filter), filter};

    return prctl(PR_SET_DUMPABLE, 0) == 0 && /* no core file */
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Call the function in a child that may make no system call. Return the child's wait status. */
static int call_purely(void (*function)(void))
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        if (!forbid_system_calls())
            _exit(EXIT_FAILURE);
        function();
        syscall(SYS_exit, EXIT_SUCCESS); /* _exit would call exit_group */
    }
    if (child > 0)
        waitpid(child, &status, 0);
    return status;
}

/* The wait statuses of the children. */
static struct {
    int nothing, system_call, http;
} purely;

START_TEST(system_call_kills_the_child)
{
    ck_assert(WIFSIGNALED(purely.system_call));
    ck_assert_int_eq(WTERMSIG(purely.system_call), SIGSYS);
}
END_TEST

START_TEST(http_makes_no_system_call)
{
    ck_assert_msg(purely.http == 0, "wait status %#x", purely.http);
}
END_TEST

static void add_purity_tests(Suite *suite)
{
    if (purely.nothing != 0) {
        puts("check_http: purity is not tested: seccomp does not work here");
        return;
    }
    TCase *tests = http_case(suite, "purity");
    tcase_add_test(tests, system_call_kills_the_child);
    tcase_add_test(tests, http_makes_no_system_call);
}

int main(void)
{
    /* Before anything else: the C library reads the file of the time zone once in a process. */
    unsetenv("TZ");
    purely.http = call_purely(answer_examples);
    purely.nothing = call_purely(do_nothing);
    purely.system_call = call_purely(make_a_system_call);

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

/* The server of a stage as a process: start it, watch it through /proc, limit and end it. There is
 * one at a time, and it ends with the process of the test. */
#ifndef TESTS_STAGES_SERVER_H
#define TESTS_STAGES_SERVER_H

#include <check.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#define PATIENCE_S 15.0 /* longer than any step takes, even on a busy machine */
#define LONG       "30" /* seconds, as an option: longer than that patience */

#define LENGTH(array) (sizeof(array) / sizeof *(array))

enum { BLOCKING, THREADED, SELECT, POLL, EPOLL, LIBEV };

extern const char *const stages[]; /* their names */
extern const char *stage;          /* under test */

extern struct server {
    pid_t pid; /* 0: not running */
    int port;
    int out, log; /* its stdout and stderr, as files in memory */
} server;

/* Fail the test unless the condition holds. The message names the stage and the problem, and says
 * what the server wrote to stderr and how it ended. */
#define EXPECT(condition, format, ...)                                                             \
    do                                                                                             \
        if (!(condition))                                                                          \
            ck_abort_msg("%s: " format "%s", stage, ##__VA_ARGS__, obituary());                    \
    while (0)

/* Wait until the condition holds. */
#define WAIT_UNTIL(condition, format, ...)                                                         \
    for (double until_ = now() + PATIENCE_S; !(condition); pause_s(0.002))                         \
    EXPECT(now() < until_, format, ##__VA_ARGS__)

/* Return the time in seconds, of a clock that never goes back. */
double now(void);
void pause_s(double seconds);

/* Start the server of a stage with these options, and wait until it listens. */
#define START(...) start(_i, (char *[]){"--port", "0", ##__VA_ARGS__, NULL})
void start(int index, char *const options[]);

/* The two halves of start. host as it stands in a URL. */
void spawn(int index, char *const options[]);
void expect_listening(const char *host);

/* Return what the server has written so far to one of its files. Valid until the next call. */
const char *written(int file);

/* Return the end of a message: how the server ended, and what it wrote to stderr. */
const char *obituary(void);

/* Wait for the end of the server; return its status, as waitpid gives it. */
int end_of_server(void);
void expect_exit(int wanted);
void expect_killed_by_another(void);

/* Kill the server, and release what belongs to it. Check calls this after each test that has
 * passed; after a failure, the server ends with the process of the test. */
void teardown(void);

/* Lower a limit of the running server (RLIMIT_NOFILE, ...). */
void limit(int resource, rlim_t most);

/* Lower its address space, to leave room for a dozen more threads. */
void limit_threads(void);

/* Return the value of a line of /proc/PID/status, given the text before it. Valid until the next
 * call. */
const char *status_of(const char *name);
long kib(const char *name);

/* Return the processor time that the server has used, in seconds. */
double cpu_s(void);

/* Fail if the server uses much processor time. */
void expect_no_spin(double seconds);

/* Return the number of its descriptors (two too many, always). */
int descriptors(void);
void expect_descriptors(int wanted);

/* Store the processes that the server has started, at most so many; return their number. */
int workers(pid_t *pids, int most);

#endif

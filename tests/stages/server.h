/* The server of a stage as a process: start it, watch it through /proc, limit it and end it. A test
 * has one server at a time, which does not outlive the process of the test. */
#ifndef TESTS_STAGES_SERVER_H
#define TESTS_STAGES_SERVER_H

#include <check.h>
#include <stdbool.h>
#include <sys/types.h>

#define PATIENCE_S 15.0 /* longer than any step takes, even on a busy machine */
#define LONG       "30" /* an option in seconds: longer than that patience */

#define LENGTH(array) (sizeof(array) / sizeof *(array))

enum { BLOCKING, THREADED, SELECT, POLL, EPOLL, LIBEV };

extern const char *stages[]; /* their names */
extern const char *stage;    /* the one under test */
extern const char *program;  /* its path; NULL: the file of its name beside this program */

extern struct server {
    pid_t pid; /* 0: not running */
    int port;
    int out, log;       /* its stdout and stderr, as files in memory */
    int stderr_to;      /* if set before spawn: stderr goes to this descriptor instead */
    bool closed[3];     /* if set before spawn: it has no stdin, stdout or stderr */
    long address_space; /* if set before spawn: RLIMIT_AS, in KiB */
    int status;         /* after its end: as waitpid gives it */
    bool ended;
} server;

/* Fail the test unless the condition holds. The message names the stage and the problem; it adds
 * how the server ended and what it wrote to stderr. */
#define EXPECT(condition, format, ...)                                                             \
    do                                                                                             \
        if (!(condition))                                                                          \
            ck_abort_msg("%s: " format "%s", stage, ##__VA_ARGS__, obituary());                    \
    while (0)

/* Wait until the condition holds; fail after PATIENCE_S. */
#define WAIT_UNTIL(condition, format, ...)                                                         \
    for (double until_ = now() + PATIENCE_S; !(condition); pause_s(0.002))                         \
    EXPECT(now() < until_, format, ##__VA_ARGS__)

/* Return the time in seconds. The clock never goes back. */
double now(void);
void pause_s(double seconds);

/* ---- start and end */

/* Start the server of the stage with these options, and wait until it listens. */
#define START(...) start(_i, (char *[]){"--port", "0", ##__VA_ARGS__, NULL})
void start(int index, char *const options[]);

/* The two halves of start. host is written as in a URL. */
void spawn(int index, char *const options[]);
void expect_listening(const char *host);

/* Let the server that is started next have a stderr that takes no byte. Return its other end. */
int stderr_that_is_full(void);

void send_signal(int number);

/* Stop the server until SIGCONT, and wait until it has stopped. */
void suspend(void);

/* Has the server ended? */
bool has_ended(void);

/* Wait for the end of the server. */
void wait_for_end(void);
void expect_exit(int status);
void expect_killed_by(int number);

/* Kill the server and release what belongs to it. Check calls this after each test that passes;
 * when a test fails, the server ends with the process of the test. */
void teardown(void);

/* ---- watch and limit */

/* Return what the server has written so far to one of its files. Valid until the next call. */
const char *written(int file);

/* Return how the server ended and what it wrote to stderr, to be appended to a message. */
const char *obituary(void);

/* Return the value of a line in /proc/PID/status, given its name. Valid until the next call. */
const char *status_of(pid_t pid, const char *name);
long kib(const char *name); /* of the server */

/* Wait until the server has nothing left to do: its main thread waits for the kernel. */
void expect_asleep(void);

/* Wait until no signal is pending for a process. (The kernel delivers a pending signal once,
 * however often it was sent.) */
void expect_delivered(pid_t pid);

/* Return the processor time that the server has used, in seconds. */
double cpu_s(void);

/* Fail if the server uses processor time though it has nothing to do. */
void expect_no_busy_loop(double seconds);

int descriptors_of(pid_t pid);
int descriptors(void); /* of the server */
void expect_descriptors(int wanted);

/* From now on, the server (or the process pid) can open no descriptor with the number most or a
 * higher one. */
void limit_descriptors(int most);
void limit_descriptors_of(pid_t pid, int most);

int lowest_free_descriptor(void);
int lowest_free_descriptor_of(pid_t pid);

/* Leave the server room for a dozen more threads. */
void limit_threads(void);

/* Store the children of a process, at most so many; return their number. */
int children_of(pid_t parent, pid_t *pids, int most);

#endif

/* A subject is a file of tests. It becomes a test case of Check, so that a failure reads
 * file:line:F:subject:test, and CK_RUN_CASE=subject runs that subject alone. */
#ifndef TESTS_STAGES_SUBJECT_H
#define TESTS_STAGES_SUBJECT_H

#include "tests/stages/client.h"
#include "tests/stages/server.h"

/* The tests that follow belong to this subject. */
void begin_subject(const char *name);

/* Add a test, if it is for the stage that this process tests; the stages are in order. */
void add_test(const TTest *test, int first, int last);

void http_tests(void);
void keep_alive_tests(void);
void waiting_tests(void);
void slow_clients_tests(void);
void leaving_clients_tests(void);
void resources_tests(void);
void signals_tests(void);
void shutdown_tests(void);
void threads_tests(void);
void workers_tests(void);
void command_line_tests(void);

#endif

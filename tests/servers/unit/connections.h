/* The subjects of check_connections. Each function adds its test cases to the suite. */
#ifndef TESTS_UNIT_CONNECTIONS_H
#define TESTS_UNIT_CONNECTIONS_H

#include <check.h>

void add_conversation_tests(Suite *suite);
void add_deadline_tests(Suite *suite);
void add_shutdown_tests(Suite *suite);
void add_shortage_tests(Suite *suite);

#endif

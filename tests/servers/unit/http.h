/* The helpers and the examples that the tests of common/http.h share. */
#ifndef TESTS_UNIT_HTTP_H
#define TESTS_UNIT_HTTP_H

#include "common/http.h"

#include <check.h>
#include <stdbool.h>
#include <stddef.h>

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

enum { ROOM = 1 << 16 }; /* whole pages, whatever their size */

/* There are ROOM bytes before the wall. An access to the wall itself is a crash. */
extern char *wall;

/* Add an empty test case to the suite. Each of its tests has a wall. */
TCase *http_case(Suite *suite, const char *name);

/* Parse bytes that end right before the wall. */
bool parse(struct http_request *r, const char *bytes, size_t arrived);

/* Return a head of this length that begins and ends like this, and is filled up with a letter. */
const char *fill(const char *begin, size_t length, const char *end);

/* Request heads. */
#define REST              "Host: a\r\n\r\n"
#define TARGET(t)         "GET " t " HTTP/1.1\r\n" REST
#define METHOD(m, target) m " " target " HTTP/1.1\r\n" REST
#define VERSION(v)        "GET /fast " v "\r\n" REST
#define START             "GET /fast HTTP/1.1\r\n"
#define START_1_0         "GET /fast HTTP/1.0\r\n"
#define FIELD(line)       START "Host: a\r\n" line "\r\n\r\n"
#define FIELD_1_0(line)   START_1_0 line "\r\n\r\n"

/* Parse each example of http_requests.c, the whole and a half that never becomes more, and respond.
 * Do nothing else. */
void answer_examples(void);

void add_request_tests(Suite *suite);
void add_response_tests(Suite *suite);

#endif

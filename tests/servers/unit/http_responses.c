/* Responses, and the date in them. */
#include "tests/servers/unit/http.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Responses: each status has its own, with a head and a content that agree. */

/* Each status, and the shortest request that leads to it. */
static const struct response {
    const char *bytes, *status_line, *content;
} responses[] = {
    {TARGET("/fast"), "200 OK", "That was fast!"},
    {TARGET("/slow"), "200 OK", "That was slow!"},
    {TARGET("/"), "404 Not Found", "404 Not Found: this server has /slow and /fast\n"},
    {METHOD("PUT", "/fast"), "405 Method Not Allowed", NULL},
    {METHOD("BREW", "/fast"), "501 Not Implemented", NULL},
    {START "\r\n", "400 Bad Request", NULL},
    {VERSION("HTTP/2.0"), "505 HTTP Version Not Supported", NULL},
    {"414", "414 URI Too Long", NULL},
    {"431", "431 Request Header Fields Too Large", NULL},
    {"408", "408 Request Timeout", NULL},
};

static struct http_request request_of(const struct response *a)
{
    struct http_request r = {0};

    if (strcmp(a->bytes, "414") == 0)
        parse(&r, fill("GET /", HTTP_HEAD_MAX, ""), HTTP_HEAD_MAX);
    else if (strcmp(a->bytes, "431") == 0)
        parse(&r, fill(START, HTTP_HEAD_MAX, ""), HTTP_HEAD_MAX);
    else if (strcmp(a->bytes, "408") == 0)
        http_time_out(&r);
    else
        ck_assert(parse(&r, a->bytes, strlen(a->bytes)));
    ck_assert_int_eq(r.status, atoi(a->status_line));
    return r;
}

/* Return the response, terminated. It is formatted right before the wall. */
static const char *respond(const struct http_request *r, bool keep_alive)
{
    static const char date[] = "Sun, 06 Nov 1994 08:49:37 GMT";
    static char text[HTTP_RESPONSE_MAX + 1];
    char *out = wall - HTTP_RESPONSE_MAX;
    size_t length = http_respond(out, r, "05-epoll", date, keep_alive);

    ck_assert_uint_le(length, HTTP_RESPONSE_MAX);
    memcpy(text, out, length);
    text[length] = '\0';
    ck_assert_uint_eq(strlen(text), length);
    return text;
}

static void check_response(const struct response *a, const struct http_request *r, bool keep_alive,
                           const char *connection)
{
    char expected[HTTP_RESPONSE_MAX + 1];
    const char *text = respond(r, keep_alive), *content = strstr(text, "\r\n\r\n");

    ck_assert_ptr_nonnull(content);
    content += 4;
    if (a->content != NULL) {
        ck_assert_str_eq(content, a->content);
    } else { /* one line for people, which begins with the status */
        ck_assert_int_eq(strncmp(content, a->status_line, strlen(a->status_line)), 0);
        ck_assert_ptr_eq(strchr(content, '\n'), content + strlen(content) - 1);
    }
    snprintf(expected, sizeof expected,
             "HTTP/1.1 %s\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: 05-epoll\r\n"
             "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n%s%s\r\n%s",
             a->status_line, strlen(content), r->status == 405 ? "Allow: GET, HEAD\r\n" : "",
             connection, content);
    ck_assert_str_eq(text, expected);
}

START_TEST(each_status_has_its_response)
{
    struct http_request r = request_of(&responses[_i]);

    check_response(&responses[_i], &r, false, "Connection: close\r\n");
    r.minor = 1; /* even of a bad request, whose version is not known */
    check_response(&responses[_i], &r, true, "");
}
END_TEST

START_TEST(response_to_head_has_no_content)
{
    struct http_request r = request_of(&responses[_i]);
    char expected[HTTP_RESPONSE_MAX + 1];

    r.method = HTTP_GET;
    snprintf(expected, sizeof expected, "%s", respond(&r, _i % 2));
    strstr(expected, "\r\n\r\n")[4] = '\0';
    r.method = HTTP_HEAD;
    ck_assert_str_eq(respond(&r, _i % 2), expected);
}
END_TEST

START_TEST(keep_alive_is_announced_in_http_1_0_only)
{
    static const struct {
        const char *bytes, *connection;
        bool keep_alive;
    } requests[] = {
        {FIELD_1_0("Connection: keep-alive"), "Connection: keep-alive\r\n", true},
        {FIELD_1_0("Connection: keep-alive"), "Connection: close\r\n", false},
        {FIELD("Connection: keep-alive"), "", true},
        {FIELD("Connection: keep-alive"), "Connection: close\r\n", false},
        {VERSION("HTTP/1.9"), "", true},
    };

    for (size_t i = 0; i < COUNT(requests); i++) {
        struct http_request r = {0};

        ck_assert(parse(&r, requests[i].bytes, strlen(requests[i].bytes)));
        check_response(&responses[0], &r, requests[i].keep_alive, requests[i].connection);
    }
}
END_TEST

START_TEST(timeout_at_any_point_of_a_head_is_408)
{
    static const char *const prefixes[] = {"G", "GET /slow HT", START, FIELD_1_0("X: y")};

    for (size_t i = 0; i < COUNT(prefixes); i++) {
        struct http_request r = {0};

        parse(&r, prefixes[i], strlen(prefixes[i]) - 1);
        http_time_out(&r);
        ck_assert_int_eq(r.status, 408);
        ck_assert(!r.keep_alive);
        check_response(&responses[9], &r, false, "Connection: close\r\n");
    }
}
END_TEST

/* ---- Dates: http_date agrees with the C library, in which the time zone of the process must not
 * matter. */

static void leave_utc(void)
{
    ck_assert_int_eq(setenv("TZ", "EAST-5", 1), 0);
}

static void check_date(time_t date)
{
    char expected[64], *out = wall - HTTP_DATE_SIZE;
    struct tm parts;

    ck_assert_ptr_nonnull(gmtime_r(&date, &parts));
    strftime(expected, sizeof expected, "%a, %d %b %Y %T GMT", &parts);
    http_date(out, date);
    if (strcmp(out, expected) != 0)
        ck_abort_msg("%lld: %s, expected %s", (long long)date, out, expected);
}

START_TEST(date_is_an_imf_fixdate)
{
    static const struct {
        int64_t date;
        const char *text;
    } dates[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* RFC 9110 §5.6.7 */
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {1709164800, "Thu, 29 Feb 2024 00:00:00 GMT"},
        {1709251199, "Thu, 29 Feb 2024 23:59:59 GMT"},
        {1735689599, "Tue, 31 Dec 2024 23:59:59 GMT"},
        {2147483648, "Tue, 19 Jan 2038 03:14:08 GMT"},
        {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };

    for (size_t i = 0; i < COUNT(dates); i++) {
        char *out = wall - HTTP_DATE_SIZE;

        http_date(out, (time_t)dates[i].date);
        ck_assert_str_eq(out, dates[i].text);
    }
}
END_TEST

/* The Gregorian calendar repeats itself after 400 years, so these are all its days. The time of
 * day advances by a prime number of seconds, so that each second of a day occurs, too. */
START_TEST(date_is_right_on_each_day_of_400_years)
{
    enum { DAY = 86400, DAYS = 400 * 365 + 97 };
    int64_t second = 0;

    for (int64_t day = 0; day < DAYS; day++) {
        check_date((time_t)(day * DAY + second));
        second = (second + 7919) % DAY;
    }
}
END_TEST

START_TEST(date_is_right_at_the_end_of_each_february_and_year)
{
    for (int year = 1970; year <= 9999; year++) {
        struct tm march = {.tm_year = year - 1900, .tm_mon = 2, .tm_mday = 1};
        struct tm next_year = {.tm_year = year + 1 - 1900, .tm_mday = 1};

        check_date(timegm(&march) - 1);
        check_date(timegm(&next_year) - 1);
    }
}
END_TEST

void add_response_tests(Suite *suite)
{
    TCase *tests = http_case(suite, "responses");
    tcase_add_loop_test(tests, each_status_has_its_response, 0, COUNT(responses));
    tcase_add_loop_test(tests, response_to_head_has_no_content, 0, COUNT(responses));
    tcase_add_test(tests, keep_alive_is_announced_in_http_1_0_only);
    tcase_add_test(tests, timeout_at_any_point_of_a_head_is_408);

    tests = http_case(suite, "dates");
    tcase_add_checked_fixture(tests, leave_utc, NULL);
    tcase_add_test(tests, date_is_an_imf_fixdate);
    tcase_add_test(tests, date_is_right_on_each_day_of_400_years);
    tcase_add_test(tests, date_is_right_at_the_end_of_each_february_and_year);
}

/* The conversation with a client: its requests, their responses, and the end of the connection. */
#include "tests/servers/unit/connections.h"
#include "tests/servers/unit/world.h"

#include "common/http.h"
#include "common/net.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- Requests: each gets its response, in order, however its bytes arrive, and at the lowest
 * cost: one recv for each event, and one call of watch for each connection. */

START_TEST(request_that_has_arrived_is_answered_on_accept)
{
    int client = client_connect();

    client_send(client, FAST);
    world.now_ns += S;
    connections_ready(world.listener);
    connections_accept();
    CHECK_RECEIVED(client, "fast");
    ck_assert_int_eq(connections_wait_ms(), TIMEOUT / MS);
}
END_TEST

START_TEST(fast_requests_need_one_watch_per_connection)
{
    int before = world.watch_calls, client = client_open(FAST, NULL);

    for (int i = 0; i < 10; i++)
        client_ask(client, FAST);
    CHECK_RECEIVED(client, "fast fast fast fast fast fast fast fast fast fast fast");
    ck_assert_int_eq(world.watch_calls - before, 1);
}
END_TEST

START_TEST(request_may_arrive_byte_by_byte)
{
    int client = client_connect();

    for (const char *byte = FAST NONE; *byte != '\0'; byte++)
        client_ask(client, (const char[]){*byte, '\0'});
    CHECK_RECEIVED(client, "fast 404");
}
END_TEST

START_TEST(pipelined_requests_are_answered_in_order)
{
    int client = client_open("\r\n" FAST NONE "\r\n" FAST "GET /fa", NULL);

    CHECK_RECEIVED(client, "fast 404 fast");
    client_ask(client, "st HTTP/1.0\r\n\r\n");
    CHECK_RECEIVED(client, "fast-close EOF");
}
END_TEST

START_TEST(pipelined_requests_wait_for_slow)
{
    int client = client_open(FAST SLOW FAST SLOW NONE, NULL);

    CHECK_RECEIVED(client, "fast");
    loop_settle_at(world.now_ns + DELAY);
    CHECK_RECEIVED(client, "slow fast");
    client_send(client, FAST);
    loop_settle_at(world.now_ns + DELAY);
    CHECK_RECEIVED(client, "slow 404 fast");
}
END_TEST

START_TEST(bad_request_after_a_good_one_gets_a_400)
{
    int client = client_open(FAST "GET /fast\n" FAST, NULL);

    CHECK_RECEIVED(client, "fast 400-close EOF");
}
END_TEST

START_TEST(nothing_is_answered_after_connection_close)
{
    int server, client = client_open(LAST, &server);

    ck_assert(!server_is_open(server));
    CHECK_RECEIVED(client, "fast-close EOF");
    client = client_open(LAST FAST, &server);
    CHECK_RECEIVED(client, "fast-close EOF");
}
END_TEST

static const struct {
    const char *request, *received;
} bodies[] = {
    {"POST /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n", "405-close EOF"},
    {"GET /fast HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n", "fast-close EOF"},
    {"GET /fast HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "fast-close EOF"},
};

START_TEST(body_is_not_parsed_as_a_request)
{
    int server, client = client_open(bodies[_i].request, &server);

    ck_assert(server_is_open(server)); /* closed now, the unread body would cause a reset */
    client_ask(client, FAST);
    CHECK_RECEIVED(client, bodies[_i].received);
    client_close(client);
    loop_settle();
    ck_assert(!server_is_open(server));
}
END_TEST

START_TEST(errors_are_answered_without_delay)
{
    int client = client_open("PUT /slow HTTP/1.1\r\nHost: a\r\n\r\n" SLOW, NULL);

    CHECK_RECEIVED(client, "405");
    client = client_open("GET /slow HTTP/1.1\r\n\r\n", NULL);
    CHECK_RECEIVED(client, "400-close EOF");
}
END_TEST

START_TEST(one_event_causes_one_recv)
{
    static char requests[3 * HTTP_HEAD_MAX + 1];
    static const char begin[] = "GET /fast HTTP/1.1\r\nHost: a\r\nX: ";
    int server, client = client_open("", &server);

    memset(requests, 'a', sizeof requests - 1);
    for (char *request = requests; *request != '\0'; request += HTTP_HEAD_MAX) {
        memcpy(request, begin, strlen(begin));
        memcpy(request + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
    }
    client_send(client, requests);
    connections_ready(server);
    CHECK_RECEIVED(client, "fast");
    ck_assert_int_eq(server_unread(server), 2 * HTTP_HEAD_MAX);
}
END_TEST

START_TEST(one_client_is_accepted_per_turn)
{
    int first = client_connect(), second = client_connect();

    client_send(first, FAST);
    client_send(second, FAST);
    loop_turn();
    CHECK_RECEIVED(first, "fast");
    CHECK_RECEIVED(second, "");
    loop_turn();
    CHECK_RECEIVED(second, "fast");
}
END_TEST

START_TEST(block_answers_slow_within_the_step)
{
    world.options.block = true;
    world.options.delay_ns = 0; /* this sleep is real */
    int client = client_open(SLOW FAST, NULL);
    CHECK_RECEIVED(client, "slow fast");
}
END_TEST

/* ---- Partial sends: a client gets each byte once, however few bytes the kernel takes at a time.
 * While it does not read its responses, the server does not read its requests (back-pressure). */

static const size_t send_limits[] = {1, 2, 7, 100, 150, 1000};

START_TEST(partial_sends_lose_and_repeat_nothing)
{
    world.send_limit = send_limits[_i];
    int client = client_open(FAST NONE FAST "bad\r\n", NULL);
    ck_assert_str_eq(client_all_words(client), "fast 404 fast 400-close EOF");
}
END_TEST

START_TEST(blocked_writer_resumes_when_there_is_room)
{
    char expected[BLOCKED_REQUESTS / 2 * 9];
    int server, client = client_open_blocked(&server);

    for (size_t i = 0; i < BLOCKED_REQUESTS / 2; i++)
        memcpy(expected + i * 9, "fast 404 ", 9);
    expected[sizeof expected - 1] = '\0';
    ck_assert_str_eq(client_all_words(client), expected);
    ck_assert_int_eq(world.watched[server], WANT_READ);
}
END_TEST

START_TEST(blocked_writer_stops_reading)
{
    int server, client = client_open_blocked(&server), before = server_unread(server);

    ck_assert_int_gt(before, 0);
    for (int i = 0; i < 100; i++) {
        before += (int)client_send(client, FAST);
        loop_settle();
        ck_assert_int_eq(server_unread(server), before);
    }
    ck_assert_int_eq(world.watched[server], WANT_WRITE);
}
END_TEST

/* ---- Clients that leave: a client that half-closes still gets its responses; a client that closes
 * or resets takes only its own connection with it, even during /slow, when the server is not
 * looking. */

START_TEST(sleeping_connection_is_not_watched)
{
    int server, kept, client = client_open(SLOW, &server), other = client_open(FAST, &kept);

    ck_assert_int_eq(world.watched[server], WANT_NOTHING);
    ck_assert_int_eq(world.watched[kept], WANT_READ);
    client_ask(other, SLOW);
    ck_assert_int_eq(world.watched[kept], WANT_NOTHING);
    client_send(client, FAST);
    connections_ready(server); /* a stale event */
    CHECK_RECEIVED(client, "");
    loop_settle_at(world.now_ns + DELAY);
    CHECK_RECEIVED(client, "slow fast");
    ck_assert_int_eq(world.watched[server], WANT_READ);
}
END_TEST

START_TEST(client_that_half_closes_during_slow_is_answered)
{
    int server, client = client_open(SLOW, &server);

    shutdown(client, SHUT_WR);
    loop_settle();
    ck_assert(server_is_open(server));
    loop_settle_at(world.now_ns + DELAY);
    CHECK_RECEIVED(client, "slow EOF");
    ck_assert(!server_is_open(server));
}
END_TEST

START_TEST(client_that_half_closes_after_a_request_is_answered)
{
    int client = client_connect();

    client_send(client, FAST NONE);
    shutdown(client, SHUT_WR);
    loop_settle();
    CHECK_RECEIVED(client, "fast 404 EOF");
}
END_TEST

static const struct {
    const char *sent, *received;
} before_the_end[] = {
    {"", "EOF"},        {"\r\n", "EOF"},          {"GET /fast", "EOF"},
    {FAST, "fast EOF"}, {FAST "GET", "fast EOF"},
};

START_TEST(end_of_input_closes_the_connection)
{
    int server, client = client_open(before_the_end[_i].sent, &server);

    shutdown(client, SHUT_WR);
    loop_settle();
    ck_assert(!server_is_open(server));
    CHECK_RECEIVED(client, before_the_end[_i].received);
}
END_TEST

/* A client that closes with unread input resets the connection (unix(7)). Here the unread input is
 * a response; where there is none, the server sees the end of the input instead. */
static const char *const before_the_reset[] = {"", "GET /fast", FAST, FAST "GET", "bad\r\n"};

START_TEST(reset_closes_the_connection)
{
    int server, client = client_open(before_the_reset[_i], &server);

    client_close(client);
    loop_settle();
    ck_assert(!server_is_open(server));
}
END_TEST

START_TEST(reset_during_slow_does_not_spin)
{
    int server, other = client_open(FAST, NULL), client = client_open(FAST SLOW, &server);

    client_close(client);
    loop_settle();
    ck_assert_int_eq(world.watched[server], WANT_NOTHING);
    ck_assert_int_eq(connections_wait_ms(), DELAY / MS);
    loop_settle_at(world.now_ns + DELAY);
    ck_assert(!server_is_open(server));
    client_ask(other, FAST);
    CHECK_RECEIVED(other, "fast fast");
}
END_TEST

START_TEST(reset_of_a_blocked_writer_closes_the_connection)
{
    int server, client = client_open_blocked(&server);

    client_close(client);
    loop_settle();
    ck_assert(!server_is_open(server));
}
END_TEST

/* ---- Lingering: before the server closes, it discards the bytes that the client still sends, so
 * that no reset destroys the last response. It does so for a limited number of bytes and a limited
 * time. */

START_TEST(input_after_an_error_is_discarded)
{
    int server, client = client_open("bad\r\n" FAST, &server);

    CHECK_RECEIVED(client, "400-close EOF");
    for (int i = 0; i < 100; i++) {
        client_ask(client, SLOW FAST);
        ck_assert_int_eq(server_unread(server), 0);
    }
    CHECK_RECEIVED(client, "EOF");
    ck_assert(server_is_open(server));
    shutdown(client, SHUT_WR);
    loop_settle();
    ck_assert(!server_is_open(server));
}
END_TEST

START_TEST(unread_input_does_not_reset_the_last_response)
{
    int client = client_open("GET /slow HTTP/1.0\r\n\r\n", NULL);

    client_send(client, "\r\n");
    loop_settle_at(world.now_ns + DELAY);
    CHECK_RECEIVED(client, "slow-close EOF");
}
END_TEST

START_TEST(lingering_is_bounded_in_bytes)
{
    static char text[HTTP_HEAD_MAX + 1];
    int server, client = client_open("bad\r\n", &server);
    size_t discarded = 0;

    memset(text, 'a', sizeof text - 1);
    while (server_is_open(server)) {
        discarded += client_send(client, text);
        loop_settle();
        ck_assert_uint_le(discarded, NET_LINGER_BYTES + sizeof text);
    }
    ck_assert_uint_ge(discarded, NET_LINGER_BYTES);
}
END_TEST

START_TEST(lingering_is_bounded_in_time)
{
    int64_t begin_ns = world.now_ns, linger_ns = net_linger_ns(TIMEOUT);
    int server, client = client_open("bad\r\n", &server);

    CHECK_RECEIVED(client, "400-close EOF");
    ck_assert_int_gt(linger_ns, 0);
    world.now_ns = begin_ns + linger_ns - 1;
    client_ask(client, "more");
    ck_assert(server_is_open(server));
    loop_settle_at(begin_ns + linger_ns);
    ck_assert(!server_is_open(server));
}
END_TEST

void add_conversation_tests(Suite *suite)
{
    TCase *tests = world_case(suite, "requests");
    tcase_add_test(tests, request_that_has_arrived_is_answered_on_accept);
    tcase_add_test(tests, fast_requests_need_one_watch_per_connection);
    tcase_add_test(tests, request_may_arrive_byte_by_byte);
    tcase_add_test(tests, pipelined_requests_are_answered_in_order);
    tcase_add_test(tests, pipelined_requests_wait_for_slow);
    tcase_add_test(tests, bad_request_after_a_good_one_gets_a_400);
    tcase_add_test(tests, nothing_is_answered_after_connection_close);
    tcase_add_loop_test(tests, body_is_not_parsed_as_a_request, 0, COUNT(bodies));
    tcase_add_test(tests, errors_are_answered_without_delay);
    tcase_add_test(tests, one_event_causes_one_recv);
    tcase_add_test(tests, one_client_is_accepted_per_turn);
    tcase_add_test(tests, block_answers_slow_within_the_step);

    tests = world_case(suite, "partial sends");
    tcase_add_loop_test(tests, partial_sends_lose_and_repeat_nothing, 0, COUNT(send_limits));
    tcase_add_test(tests, blocked_writer_resumes_when_there_is_room);
    tcase_add_test(tests, blocked_writer_stops_reading);

    tests = world_case(suite, "clients that leave");
    tcase_add_test(tests, sleeping_connection_is_not_watched);
    tcase_add_test(tests, client_that_half_closes_during_slow_is_answered);
    tcase_add_test(tests, client_that_half_closes_after_a_request_is_answered);
    tcase_add_loop_test(tests, end_of_input_closes_the_connection, 0, COUNT(before_the_end));
    tcase_add_loop_test(tests, reset_closes_the_connection, 0, COUNT(before_the_reset));
    tcase_add_test(tests, reset_during_slow_does_not_spin);
    tcase_add_test(tests, reset_of_a_blocked_writer_closes_the_connection);

    tests = world_case(suite, "lingering");
    tcase_add_test(tests, input_after_an_error_is_discarded);
    tcase_add_test(tests, unread_input_does_not_reset_the_last_response);
    tcase_add_test(tests, lingering_is_bounded_in_bytes);
    tcase_add_test(tests, lingering_is_bounded_in_time);
}

/* How long each state of a connection may last, and so how long the loop may wait. */
#include "tests/servers/unit/connections.h"
#include "tests/servers/unit/world.h"

#include <sys/socket.h>

/* ---- Idle connections: a connection between requests is closed after the timeout, without a
 * response. Only the first byte of a request ends the idle time: empty lines do not count. */

START_TEST(idle_connection_is_closed_without_a_response)
{
    int64_t begin_ns = world.now_ns;
    int client = client_open("", NULL);

    loop_settle_at(begin_ns + TIMEOUT - 1);
    CHECK_RECEIVED(client, "");
    loop_settle_at(begin_ns + TIMEOUT);
    CHECK_RECEIVED(client, "EOF");
}
END_TEST

START_TEST(idle_time_restarts_after_a_response)
{
    int client = client_open("", NULL);

    world.now_ns += TIMEOUT - 1;
    client_ask(client, FAST);
    loop_settle_at(world.now_ns + TIMEOUT - 1);
    CHECK_RECEIVED(client, "fast");
    loop_settle_at(world.now_ns + 1);
    CHECK_RECEIVED(client, "EOF");
}
END_TEST

START_TEST(idle_time_starts_when_the_response_is_sent)
{
    int server, client = client_open("", &server);

    world.send_limit = 10;
    client_send(client, FAST);
    connections_ready(server);
    ck_assert_int_eq(world.watched[server], WANT_WRITE);
    world.send_limit = SIZE_MAX;
    loop_settle_at(world.now_ns + S);
    ck_assert_int_eq(world.watched[server], WANT_READ);
    ck_assert_int_eq(connections_wait_ms(), TIMEOUT / MS);
}
END_TEST

START_TEST(empty_lines_do_not_extend_the_idle_time)
{
    int64_t begin_ns = world.now_ns;
    int client = client_open("\r\n", NULL);

    loop_settle_at(begin_ns + TIMEOUT - 1);
    client_ask(client, "\r\n");
    loop_settle_at(begin_ns + TIMEOUT);
    CHECK_RECEIVED(client, "EOF");
}
END_TEST

START_TEST(split_empty_line_is_not_a_request)
{
    int client = client_open("\r", NULL);

    client_send(client, "\n");
    loop_settle_at(world.now_ns + TIMEOUT);
    CHECK_RECEIVED(client, "EOF");
}
END_TEST

START_TEST(split_empty_line_does_not_extend_the_idle_time)
{
    int64_t begin_ns = world.now_ns;
    int client = client_open("", NULL);

    loop_settle_at(begin_ns + TIMEOUT - 1);
    client_ask(client, "\r");
    client_ask(client, "\n");
    loop_settle_at(begin_ns + TIMEOUT);
    CHECK_RECEIVED(client, "EOF");
}
END_TEST

/* ---- Heads: the timeout counts from the first byte of the request, and no later byte extends it.
 * A request that has arrived in time is answered, even if the server looks too late. */

START_TEST(head_timeout_counts_from_the_first_byte)
{
    int64_t begin_ns = world.now_ns + TIMEOUT - 1;
    int client = client_open("\r\n", NULL);

    loop_settle_at(begin_ns);
    client_ask(client, "G");
    loop_settle_at(begin_ns + 1);
    CHECK_RECEIVED(client, "");
    for (const char *byte = "ET /fast"; *byte != '\0'; byte++) {
        loop_settle_at(world.now_ns + TIMEOUT / 10);
        client_ask(client, (const char[]){*byte, '\0'});
    }
    loop_settle_at(begin_ns + TIMEOUT - 1);
    client_ask(client, " HTTP");
    CHECK_RECEIVED(client, "");
    loop_settle_at(begin_ns + TIMEOUT);
    CHECK_RECEIVED(client, "408-close EOF");
}
END_TEST

START_TEST(pipelined_partial_head_times_out)
{
    int client = client_open(FAST "GET", NULL);

    loop_settle_at(world.now_ns + TIMEOUT - 1);
    CHECK_RECEIVED(client, "fast");
    loop_settle_at(world.now_ns + 1);
    CHECK_RECEIVED(client, "408-close EOF");
}
END_TEST

/* The loop is late if --block makes it sleep, if more descriptors are ready than fit into a batch,
 * or if the process was suspended. */
START_TEST(request_that_arrived_while_the_loop_was_busy_is_answered)
{
    int idle = client_open("", NULL), reading = client_open("GET", NULL);

    world.now_ns += TIMEOUT;
    client_send(idle, FAST);
    client_send(reading, " /fast HTTP/1.1\r\nHost: a\r\n\r\n");
    connections_expire();
    loop_settle();
    CHECK_RECEIVED(reading, "fast");
    CHECK_RECEIVED(idle, "fast");
}
END_TEST

/* ---- The delay of /slow: it is exact, and counts from the arrival of the request. */

START_TEST(slow_waits_exactly_the_delay)
{
    int64_t begin_ns = world.now_ns;
    int client = client_open(SLOW, NULL);

    loop_settle_at(begin_ns + DELAY - 1);
    CHECK_RECEIVED(client, "");
    loop_settle_at(begin_ns + DELAY);
    CHECK_RECEIVED(client, "slow");
}
END_TEST

START_TEST(delay_counts_from_the_arrival_of_the_request)
{
    int server, client = client_open("", &server);

    client_send(client, SLOW);
    world.recv_ns = 5 * MS;
    connections_ready(server);
    world.recv_ns = 0;
    loop_settle_at(world.now_ns + DELAY - 1);
    CHECK_RECEIVED(client, "");
    loop_settle_at(world.now_ns + 1);
    CHECK_RECEIVED(client, "slow");
}
END_TEST

START_TEST(delay_zero_reads_the_next_request_in_the_next_turn)
{
    int server, client;

    world.options.delay_ns = 0;
    world_restart();
    client = client_open("", &server);
    client_send(client, SLOW "GET");
    connections_ready(server);
    client_send(client, " /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    connections_expire();
    CHECK_RECEIVED(client, "slow");
    ck_assert_int_gt(server_unread(server), 0);
    loop_settle();
    CHECK_RECEIVED(client, "slow");
}
END_TEST

/* ---- Blocked writers: a client that does not read its response in time is disconnected, and
 * reading a little of it does not extend the timeout. */

START_TEST(blocked_writer_times_out)
{
    int64_t begin_ns = world.now_ns;
    int server;

    client_open_blocked(&server);
    loop_settle_at(begin_ns + TIMEOUT - 1);
    ck_assert(server_is_open(server));
    loop_settle_at(begin_ns + TIMEOUT);
    ck_assert(!server_is_open(server));
}
END_TEST

START_TEST(slow_reader_does_not_extend_the_timeout)
{
    int64_t begin_ns = world.now_ns;
    int server, client = client_open("", &server);
    char byte;

    world.send_limit = 1;
    client_send(client, FAST);
    connections_ready(server);
    for (int i = 0; i < 9; i++) {
        world.now_ns += S;
        ck_assert_int_eq(recv(client, &byte, 1, 0), 1);
        loop_turn();
    }
    ck_assert(server_is_open(server));
    world.now_ns = begin_ns + TIMEOUT;
    connections_expire();
    ck_assert(!server_is_open(server));
}
END_TEST

/* ---- The wait: the loop wakes at the nearest deadline of all connections, and never before it. */

static const struct {
    const char *text;
    int wait_ms;
} states[] = {
    {"", TIMEOUT / MS}, {"\r\n", TIMEOUT / MS}, {"GET", TIMEOUT / MS},
    {SLOW, DELAY / MS}, {FAST, TIMEOUT / MS},   {"bad\r\n", 2000},
};

START_TEST(wait_lasts_until_the_deadline_of_the_state)
{
    ck_assert_int_eq(connections_wait_ms(), -1);
    client_open(states[_i].text, NULL);
    ck_assert_int_eq(connections_wait_ms(), states[_i].wait_ms);
}
END_TEST

START_TEST(wait_lasts_until_the_deadline_of_a_blocked_writer)
{
    int server;

    client_open_blocked(&server);
    ck_assert_int_eq(connections_wait_ms(), TIMEOUT / MS);
}
END_TEST

static const struct {
    int64_t left_ns;
    int wait_ms;
} roundings[] = {{1, 1},        {MS - 1, 1}, {MS, 1}, {MS + 1, 2}, {5 * MS - 1, 5},
                 {2 * S, 2000}, {0, 0},      {-1, 0}, {-5 * S, 0}};

START_TEST(wait_is_rounded_up)
{
    int64_t end_ns = world.now_ns + DELAY;

    client_open(SLOW, NULL);
    world.now_ns = end_ns - roundings[_i].left_ns;
    ck_assert_int_eq(connections_wait_ms(), roundings[_i].wait_ms);
}
END_TEST

START_TEST(wait_ends_at_the_nearest_deadline)
{
    client_open("", NULL); /* each client but the last comes later than this one and ends sooner */
    world.now_ns += S;
    client_open("G", NULL);
    ck_assert_int_eq(connections_wait_ms(), 9000);
    client_open(SLOW, NULL);
    ck_assert_int_eq(connections_wait_ms(), 3000);
    world.now_ns += S / 2;
    client_open("bad\r\n", NULL);
    ck_assert_int_eq(connections_wait_ms(), 2000);
    client_open(SLOW, NULL);
    ck_assert_int_eq(connections_wait_ms(), 2000);
    loop_settle_at(world.now_ns + 2 * S);
    ck_assert_int_eq(connections_wait_ms(), 500);
    loop_settle_at(world.now_ns + S / 2);
    ck_assert_int_eq(connections_wait_ms(), 500);
    loop_settle_at(world.now_ns + S / 2);
    ck_assert_int_eq(connections_wait_ms(), 5500);
}
END_TEST

void add_deadline_tests(Suite *suite)
{
    TCase *tests = world_case(suite, "idle connections");
    tcase_add_test(tests, idle_connection_is_closed_without_a_response);
    tcase_add_test(tests, idle_time_restarts_after_a_response);
    tcase_add_test(tests, idle_time_starts_when_the_response_is_sent);
    tcase_add_test(tests, empty_lines_do_not_extend_the_idle_time);
    tcase_add_test(tests, split_empty_line_is_not_a_request);
    tcase_add_test(tests, split_empty_line_does_not_extend_the_idle_time);

    tests = world_case(suite, "heads");
    tcase_add_test(tests, head_timeout_counts_from_the_first_byte);
    tcase_add_test(tests, pipelined_partial_head_times_out);
    tcase_add_test(tests, request_that_arrived_while_the_loop_was_busy_is_answered);

    tests = world_case(suite, "the delay");
    tcase_add_test(tests, slow_waits_exactly_the_delay);
    tcase_add_test(tests, delay_counts_from_the_arrival_of_the_request);
    tcase_add_test(tests, delay_zero_reads_the_next_request_in_the_next_turn);

    tests = world_case(suite, "blocked writers");
    tcase_add_test(tests, blocked_writer_times_out);
    tcase_add_test(tests, slow_reader_does_not_extend_the_timeout);

    tests = world_case(suite, "the wait");
    tcase_add_loop_test(tests, wait_lasts_until_the_deadline_of_the_state, 0, COUNT(states));
    tcase_add_test(tests, wait_lasts_until_the_deadline_of_a_blocked_writer);
    tcase_add_loop_test(tests, wait_is_rounded_up, 0, COUNT(roundings));
    tcase_add_test(tests, wait_ends_at_the_nearest_deadline);
}

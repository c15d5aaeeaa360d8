/* A graceful shutdown (drain): no response is lost, and the server ends. */
#include "tests/servers/unit/connections.h"
#include "tests/servers/unit/world.h"

#include "common/http.h"

#include <string.h>
#include <sys/socket.h>

/* ---- Draining connections: an idle connection is closed, a request in flight is answered, and the
 * last response of a connection is not destroyed by a reset. */

START_TEST(drain_closes_idle_connections)
{
    int fresh = client_open("", NULL), kept = client_open(FAST, NULL),
        empty = client_open(FAST "\r\n", NULL);

    world_tell_to_stop();
    CHECK_RECEIVED(fresh, "EOF");
    CHECK_RECEIVED(kept, "fast EOF");
    CHECK_RECEIVED(empty, "fast EOF");
    loop_settle();
    ck_assert(!connections_remain());
}
END_TEST

START_TEST(drain_answers_requests_that_have_arrived)
{
    int client = client_open(FAST, NULL);

    client_send(client, FAST FAST);
    world_tell_to_stop();
    loop_settle();
    CHECK_RECEIVED(client, "fast fast-close EOF");
}
END_TEST

START_TEST(drain_answers_slow_after_its_delay)
{
    int client = client_open(SLOW FAST, NULL), late = client_open("", NULL);

    world.now_ns += S;
    client_send(late, SLOW);
    world_tell_to_stop();
    loop_settle();
    loop_settle_at(world.now_ns + DELAY - 1);
    CHECK_RECEIVED(client, "slow-close EOF");
    CHECK_RECEIVED(late, "");
    ck_assert(connections_remain());
    loop_settle_at(world.now_ns + 1);
    CHECK_RECEIVED(late, "slow-close EOF");
}
END_TEST

START_TEST(drain_waits_for_the_rest_of_a_head)
{
    int client = client_open("GET /fast HTTP/1.1\r\n", NULL), late = client_open("", NULL),
        never = client_open("GET", NULL);

    client_send(late, "GET /slow HTTP/1.1\r\n");
    world_tell_to_stop();
    loop_settle();
    world.now_ns += S;
    client_send(client, "Host: a\r\n\r\n");
    client_send(late, "Host: a\r\n\r\n");
    loop_settle();
    CHECK_RECEIVED(client, "fast-close EOF");
    loop_settle_at(world.now_ns + DELAY);
    CHECK_RECEIVED(late, "slow-close EOF");
    ck_assert(connections_remain());
    loop_settle_at(world.now_ns + TIMEOUT);
    CHECK_RECEIVED(never, "408-close EOF");
    client_close(never);
    loop_settle();
    ck_assert(!connections_remain());
}
END_TEST

START_TEST(drain_waits_for_a_blocked_writer)
{
    int server, client = client_open_blocked(&server);
    const char *words;

    world_tell_to_stop();
    loop_settle();
    ck_assert(server_is_open(server));
    words = client_all_words(client); /* responses from before, and one that announces the close */
    ck_assert_ptr_null(strstr(words, "part"));
    ck_assert_ptr_nonnull(strstr(words, "-close EOF"));
    ck_assert_ptr_eq(strstr(words, "-close"), strstr(words, "-close EOF"));
}
END_TEST

/* Its response was begun before the drain, so it could not announce the close. */
START_TEST(drain_closes_a_blocked_writer_once_it_has_sent)
{
    int client = client_open("", NULL);

    world.send_limit = 100;
    client_send(client, FAST);
    loop_turn();
    world_tell_to_stop();
    world.send_limit = SIZE_MAX;
    loop_settle();
    CHECK_RECEIVED(client, "fast EOF");
    ck_assert(!connections_remain());
}
END_TEST

START_TEST(drain_does_not_reset_a_response_to_slow)
{
    int client = client_open(SLOW, NULL);

    client_send(client, FAST);
    world_tell_to_stop();
    loop_settle_at(world.now_ns + DELAY);
    CHECK_RECEIVED(client, "slow-close EOF");
}
END_TEST

START_TEST(drain_does_not_reset_a_long_pipeline)
{
    static char text[HTTP_HEAD_MAX + 2] = "GET /fast HTTP/1.1\r\nHost: a\r\nX: ";
    int client = client_open("", NULL);

    memset(text + strlen(text), 'x', HTTP_HEAD_MAX - strlen(text) - 4);
    strcat(text, "\r\n\r\nG"); /* one recv leaves the last byte in the socket */
    client_send(client, text);
    world_tell_to_stop();
    loop_settle();
    CHECK_RECEIVED(client, "fast-close EOF");
}
END_TEST

/* ---- Draining the backlog: the clients in it are served, then the listener is closed. Clients
 * that keep coming cannot delay the end: the backlog is bounded in number and in time. */

START_TEST(drain_serves_the_backlog)
{
    int all[100];

    for (int i = 0; i < 100; i++) {
        all[i] = client_connect();
        client_send(all[i], i % 2 ? SLOW : FAST);
    }
    world_tell_to_stop();
    world_tell_to_stop(); /* a stage calls it in each turn */
    loop_settle();
    for (int i = 0; i < 100; i += 2)
        CHECK_RECEIVED(all[i], "fast-close EOF");
    loop_settle_at(world.now_ns + DELAY);
    for (int i = 1; i < 100; i += 2)
        CHECK_RECEIVED(all[i], "slow-close EOF");
    ck_assert(!connections_remain());
}
END_TEST

START_TEST(drain_closes_the_listener)
{
    ck_assert(connections_remain());
    world_tell_to_stop();
    ck_assert(connections_remain());
    loop_turn(); /* one is enough to see that the backlog is empty */
    ck_assert(!server_is_open(world.listener));
    ck_assert_int_eq(world.watched[world.listener], WANT_NOTHING);
    ck_assert(!connections_remain());
    world_tell_to_stop();
    loop_settle();
}
END_TEST

START_TEST(drain_closes_a_listener_that_is_no_longer_watched)
{
    world_tell_to_stop();
    world.watched[world.listener] = WANT_NOTHING;
    connections_unwatched(world.listener);
    loop_settle();
    ck_assert(!connections_remain());
}
END_TEST

START_TEST(drain_accepts_no_more_clients_than_a_backlog_holds)
{
    int turns = 0;

    world_tell_to_stop();
    while (connections_remain()) {
        int client = client_connect();
        loop_turn();
        client_close(client);
        ck_assert_int_le(++turns, SOMAXCONN + 1);
    }
    ck_assert_int_eq(turns, SOMAXCONN + 1);
    ck_assert(!server_is_open(world.listener));
}
END_TEST

START_TEST(drain_accepts_no_longer_than_the_timeout)
{
    int64_t begin_ns = world.now_ns;

    world_tell_to_stop();
    for (int64_t turn_ns = TIMEOUT / 4; server_is_open(world.listener); world.now_ns += turn_ns) {
        int client = client_connect();
        client_send(client, FAST);
        loop_turn();
        CHECK_RECEIVED(client, "fast-close EOF");
        ck_assert_int_le(world.now_ns, begin_ns + TIMEOUT);
    }
    ck_assert_int_gt(world.now_ns, begin_ns + TIMEOUT);
    ck_assert(!connections_remain());
}
END_TEST

/* ---- Draining without descriptors: the server accepts as soon as it can, ends immediately if no
 * connection is left that could free a descriptor, and otherwise gives up after the timeout. */

START_TEST(drain_with_nothing_open_gives_up_immediately)
{
    bool paused = _i == 1;
    int client = client_connect();

    client_send(client, FAST);
    world.descriptor_limit = 0;
    if (paused)
        loop_turn();
    ck_assert_int_eq(world.watched[world.listener], paused ? WANT_NOTHING : WANT_READ);
    world_tell_to_stop();
    loop_turn();
    ck_assert(!server_is_open(world.listener));
    ck_assert(!connections_remain());
    CHECK_RECEIVED(client, "RESET");
}
END_TEST

/* An attempt that fails takes no client from the backlog. */
START_TEST(drain_counts_clients_and_not_attempts)
{
    int served, waiting;

    world.options.delay_ns = world.options.timeout_ns = INT64_C(10000) * S;
    world_restart();
    waiting = run_out_of_descriptors(&served);
    client_ask(served, SLOW);
    world_tell_to_stop();
    for (int i = 0; i < SOMAXCONN + 2; i++) {
        loop_turn();
        world.now_ns += S;
    }
    ck_assert(server_is_open(world.listener));
    world.descriptor_limit = DESCRIPTORS;
    loop_settle();
    CHECK_RECEIVED(waiting, "fast-close EOF");
    loop_settle_at(world.now_ns + world.options.delay_ns);
    CHECK_RECEIVED(served, "slow-close EOF");
}
END_TEST

START_TEST(drain_uses_the_descriptor_of_an_idle_connection)
{
    int served, waiting = run_out_of_descriptors(&served);

    world_tell_to_stop();
    loop_settle();
    CHECK_RECEIVED(served, "EOF");
    CHECK_RECEIVED(waiting, "fast-close EOF");
    ck_assert(!connections_remain());
}
END_TEST

START_TEST(drain_does_not_wait_for_the_end_of_a_pause)
{
    int served, waiting = run_out_of_descriptors(&served);

    client_ask(served, SLOW);
    world.descriptor_limit = DESCRIPTORS;
    world_tell_to_stop();
    loop_settle();
    CHECK_RECEIVED(waiting, "fast-close EOF");
    ck_assert(!server_is_open(world.listener));
}
END_TEST

/* served keeps the last descriptor for DELAY. The drain begins half a second later, so that its
 * attempts of once a second do not coincide with the end of the delay. */
static int drain_while_slow(int *served)
{
    int waiting = run_out_of_descriptors(served);

    client_ask(*served, SLOW);
    world.now_ns += S / 2;
    world_tell_to_stop();
    for (int attempts = 3; attempts > 0; attempts--) {
        loop_settle();
        CHECK_RECEIVED(waiting, "");
        ck_assert(server_is_open(world.listener));
        ck_assert_int_eq(world.watched[world.listener], WANT_NOTHING);
        if (attempts > 1)
            world.now_ns += S;
    }
    ck_assert_int_eq(connections_wait_ms(), 500);
    return waiting;
}

START_TEST(drain_accepts_when_a_connection_closes)
{
    int served, waiting = drain_while_slow(&served);

    loop_settle_at(world.now_ns + S / 2);
    CHECK_RECEIVED(served, "slow-close EOF");
    CHECK_RECEIVED(waiting, "fast-close EOF");
    ck_assert(!connections_remain());
}
END_TEST

START_TEST(drain_accepts_though_the_listener_cannot_be_watched)
{
    int served, waiting = drain_while_slow(&served);

    world.unwatchable = world.listener;
    loop_settle_at(world.now_ns + S / 2);
    CHECK_RECEIVED(served, "slow-close EOF");
    CHECK_RECEIVED(waiting, "fast-close EOF");
    ck_assert(!connections_remain());
}
END_TEST

/* served needs longer than the timeout, and clients keep coming. Meanwhile the loop sleeps, one
 * second at most and not beyond the timeout. */
START_TEST(drain_gives_up_after_the_timeout)
{
    static const int waits_ms[] = {1000, 1000, 500};
    int served, waiting;

    world.options.timeout_ns = 2 * S + S / 2;
    world_restart();
    waiting = run_out_of_descriptors(&served);
    client_ask(served, SLOW);
    world_tell_to_stop();
    loop_turn();
    for (int i = 0; i < COUNT(waits_ms); i++) {
        client_connect();
        ck_assert(server_is_open(world.listener));
        ck_assert_int_eq(connections_wait_ms(), waits_ms[i]);
        world.now_ns += waits_ms[i] * MS;
        ck_assert_int_eq(loop_turn(), 0);
    }
    ck_assert(!server_is_open(world.listener));
    CHECK_RECEIVED(waiting, "RESET");
    ck_assert(connections_remain());
    ck_assert_int_eq(connections_wait_ms(), 500);
    loop_settle_at(world.now_ns + S / 2);
    CHECK_RECEIVED(served, "slow-close EOF");
    ck_assert(!connections_remain());
}
END_TEST

START_TEST(drain_gives_up_though_the_listener_cannot_be_watched)
{
    int served, waiting;

    world.options.delay_ns = 2 * TIMEOUT;
    world_restart();
    waiting = run_out_of_descriptors(&served);
    client_ask(served, SLOW);
    world_tell_to_stop();
    world.unwatchable = world.listener;
    for (int second = 0; second < TIMEOUT / S; second++) {
        loop_settle();
        ck_assert(server_is_open(world.listener));
        world.now_ns += S;
    }
    loop_settle();
    ck_assert(!server_is_open(world.listener));
    CHECK_RECEIVED(waiting, "RESET");
    loop_settle_at(world.now_ns + TIMEOUT);
    CHECK_RECEIVED(served, "slow-close EOF");
    ck_assert(!connections_remain());
}
END_TEST

void add_shutdown_tests(Suite *suite)
{
    TCase *tests = world_case(suite, "draining connections");
    tcase_add_test(tests, drain_closes_idle_connections);
    tcase_add_test(tests, drain_answers_requests_that_have_arrived);
    tcase_add_test(tests, drain_answers_slow_after_its_delay);
    tcase_add_test(tests, drain_waits_for_the_rest_of_a_head);
    tcase_add_test(tests, drain_waits_for_a_blocked_writer);
    tcase_add_test(tests, drain_closes_a_blocked_writer_once_it_has_sent);
    tcase_add_test(tests, drain_does_not_reset_a_response_to_slow);
    tcase_add_test(tests, drain_does_not_reset_a_long_pipeline);

    tests = world_case(suite, "draining the backlog");
    tcase_add_test(tests, drain_serves_the_backlog);
    tcase_add_test(tests, drain_closes_the_listener);
    tcase_add_test(tests, drain_closes_a_listener_that_is_no_longer_watched);
    tcase_add_test(tests, drain_accepts_no_more_clients_than_a_backlog_holds);
    tcase_add_test(tests, drain_accepts_no_longer_than_the_timeout);

    tests = world_case(suite, "draining without descriptors");
    tcase_add_loop_test(tests, drain_with_nothing_open_gives_up_immediately, 0, 2);
    tcase_add_test(tests, drain_counts_clients_and_not_attempts);
    tcase_add_test(tests, drain_uses_the_descriptor_of_an_idle_connection);
    tcase_add_test(tests, drain_does_not_wait_for_the_end_of_a_pause);
    tcase_add_test(tests, drain_accepts_when_a_connection_closes);
    tcase_add_test(tests, drain_accepts_though_the_listener_cannot_be_watched);
    tcase_add_test(tests, drain_gives_up_after_the_timeout);
    tcase_add_test(tests, drain_gives_up_though_the_listener_cannot_be_watched);
}

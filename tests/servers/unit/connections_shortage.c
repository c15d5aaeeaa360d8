/* The kernel refuses something: a descriptor, memory, a watch. Only the connection that needs it
 * suffers. An event that comes too late finds no connection. */
#include "tests/servers/unit/connections.h"
#include "tests/servers/unit/world.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

/* ---- Out of descriptors: clients wait in the backlog; the loop sleeps meanwhile, and accepts
 * again when a connection closes or after a second. */

START_TEST(accepting_resumes_when_a_connection_closes)
{
    int served, waiting = run_out_of_descriptors(&served);

    client_ask(served, LAST);
    CHECK_RECEIVED(waiting, "fast");
    CHECK_RECEIVED(served, "fast-close EOF");
}
END_TEST

START_TEST(accepting_resumes_after_a_second)
{
    int served, waiting = run_out_of_descriptors(&served), before = world.watch_calls;

    loop_settle_at(world.now_ns + S); /* in vain */
    CHECK_RECEIVED(waiting, "");
    ck_assert_int_eq(world.watch_calls - before, 2);
    ck_assert_int_eq(world.watched[world.listener], WANT_NOTHING);
    ck_assert_int_eq(connections_wait_ms(), 1000);
    world.descriptor_limit = DESCRIPTORS;
    loop_settle_at(world.now_ns + S - 1);
    CHECK_RECEIVED(waiting, "");
    loop_settle_at(world.now_ns + 1);
    CHECK_RECEIVED(waiting, "fast");
    ck_assert_int_eq(world.watched[world.listener], WANT_READ);
}
END_TEST

START_TEST(paused_accepting_disturbs_no_connection)
{
    int served, waiting = run_out_of_descriptors(&served);

    client_ask(served, SLOW);
    ck_assert_int_eq(connections_wait_ms(), 1000);
    loop_settle_at(world.now_ns + DELAY);
    CHECK_RECEIVED(served, "slow");
    CHECK_RECEIVED(waiting, "");
}
END_TEST

static const int pausing_errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM};

START_TEST(accepting_pauses_after_an_error_that_lasts)
{
    int client = client_connect();

    client_send(client, FAST);
    world.accept_errno = pausing_errors[_i];
    loop_turn();
    ck_assert_int_eq(world.watched[world.listener], WANT_NOTHING);
    ck_assert_int_eq(connections_wait_ms(), 1000);
    world.accept_errno = 0;
    loop_settle_at(world.now_ns + S);
    CHECK_RECEIVED(client, "fast");
}
END_TEST

static const int passing_errors[] = {ECONNABORTED, EINTR, EPROTO, EAGAIN};

START_TEST(accepting_does_not_pause_after_an_error_that_passes)
{
    int client = client_connect(), before = world.watch_calls;

    client_send(client, FAST);
    world.accept_errno = passing_errors[_i];
    loop_turn();
    ck_assert_int_eq(world.watch_calls, before);
    ck_assert_int_eq(connections_wait_ms(), -1); /* the listener is still readable */
    world.accept_errno = 0;
    loop_settle();
    CHECK_RECEIVED(client, "fast");
}
END_TEST

/* ---- Failing watches: a connection that the kernel cannot watch, or no longer watches, is closed;
 * the listener is watched again after a second. */

START_TEST(unwatchable_client_is_closed_alone)
{
    int other = client_open(FAST, NULL), client = client_connect();

    world.unwatchable = next_descriptor();
    loop_settle();
    CHECK_RECEIVED(client, "EOF");
    world.unwatchable = NO_DESCRIPTOR;
    client_ask(other, FAST);
    CHECK_RECEIVED(other, "fast fast");
}
END_TEST

START_TEST(unwatchable_writer_is_closed)
{
    int server, client = client_open("", &server);

    world.unwatchable = server;
    world.send_limit = 10;
    client_ask(client, FAST);
    CHECK_RECEIVED(client, "part EOF");
}
END_TEST

START_TEST(unwatchable_listener_is_watched_later)
{
    int served, waiting = run_out_of_descriptors(&served);

    world.unwatchable = world.listener;
    client_ask(served, LAST);
    CHECK_RECEIVED(waiting, "");
    ck_assert_int_eq(connections_wait_ms(), 1000);
    loop_settle_at(world.now_ns + S);
    CHECK_RECEIVED(waiting, "");
    ck_assert_int_eq(connections_wait_ms(), 1000);
    world.unwatchable = NO_DESCRIPTOR;
    world.descriptor_limit = DESCRIPTORS;
    loop_settle_at(world.now_ns + S);
    CHECK_RECEIVED(waiting, "fast");
    ck_assert_int_eq(world.watched[world.listener], WANT_READ);
}
END_TEST

START_TEST(unwatchable_listener_is_fatal_at_start)
{
    world.unwatchable = world.listener;
    ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
    world_restart();
}
END_TEST

static const char *const before_the_loss[] = {"", "GET", "bad\r\n", FAST};

START_TEST(unwatched_connection_is_closed)
{
    int server, client = client_open(before_the_loss[_i], &server);

    world.watched[server] = WANT_NOTHING;
    connections_unwatched(server);
    ck_assert(!server_is_open(server));
    client_words(client);
    loop_settle();
    connections_unwatched(server); /* no connection has this number any more */
}
END_TEST

START_TEST(unwatched_listener_is_watched_again)
{
    loop_turn();
    world.watched[world.listener] = WANT_NOTHING;
    connections_unwatched(world.listener);
    int client = client_open(FAST, NULL);
    CHECK_RECEIVED(client, "");
    ck_assert_int_eq(connections_wait_ms(), 1000);
    loop_settle_at(world.now_ns + S);
    CHECK_RECEIVED(client, "fast");
    ck_assert_int_eq(world.watched[world.listener], WANT_READ);
}
END_TEST

START_TEST(unwatched_listener_pauses_for_a_second)
{
    loop_turn();
    world.now_ns += TIMEOUT;
    connections_begin_turn(); /* the second counts from this turn, not from the last one */
    world.watched[world.listener] = WANT_NOTHING;
    connections_unwatched(world.listener);
    ck_assert_int_eq(connections_wait_ms(), 1000);
}
END_TEST

/* A thread of the pool has the job, which is part of the connection. */
START_TEST(connection_of_a_running_job_is_not_closed)
{
    struct pollfd pool = {.fd = next_descriptor(), .events = POLLIN};
    int server;

    world.options.block = true;
    world.options.threads = 1;
    world.options.delay_ns = 0;
    world_restart(); /* opens the descriptor of the pool */
    int client = client_open("", &server);
    world.unstoppable = server;
    client_send(client, SLOW);
    loop_turn();
    ck_assert(server_is_open(server));
    world.unstoppable = NO_DESCRIPTOR;
    ck_assert_int_eq(poll(&pool, 1, 15000), 1);
    loop_settle();
    CHECK_RECEIVED(client, "slow");
    world.watched[pool.fd] = WANT_NOTHING; /* a pool never ends */
    close(pool.fd);
}
END_TEST

/* ---- Stale events: an event for a descriptor that is closed, or that is another connection by
 * now, harms nobody. */

START_TEST(stale_events_are_harmless)
{
    int server, client = client_open(LAST, &server);

    ck_assert(!server_is_open(server));
    connections_ready(server);
    connections_ready(client); /* open, but not the server's */
    connections_ready(DESCRIPTORS - 1);
    connections_ready(1 << 30);
    CHECK_RECEIVED(client, "fast-close EOF");
}
END_TEST

START_TEST(reused_descriptor_is_a_new_connection)
{
    int server, client = client_open(LAST, &server);

    client_close(client);
    client =
        client_connect(); /* gets the client's old number, so the server's is used again, too */
    client_ask(client, "GET");
    ck_assert_int_eq(world.watched[server], WANT_READ);
    client_ask(client, " /fast HTTP/1.0\r\n\r\n");
    CHECK_RECEIVED(client, "fast-close EOF");
}
END_TEST

void add_shortage_tests(Suite *suite)
{
    TCase *tests = world_case(suite, "out of descriptors");
    tcase_add_test(tests, accepting_resumes_when_a_connection_closes);
    tcase_add_test(tests, accepting_resumes_after_a_second);
    tcase_add_test(tests, paused_accepting_disturbs_no_connection);
    tcase_add_loop_test(tests, accepting_pauses_after_an_error_that_lasts, 0,
                        COUNT(pausing_errors));
    tcase_add_loop_test(tests, accepting_does_not_pause_after_an_error_that_passes, 0,
                        COUNT(passing_errors));

    tests = world_case(suite, "failing watches");
    tcase_add_test(tests, unwatchable_client_is_closed_alone);
    tcase_add_test(tests, unwatchable_writer_is_closed);
    tcase_add_test(tests, unwatchable_listener_is_watched_later);
    tcase_add_exit_test(tests, unwatchable_listener_is_fatal_at_start, 1);
    tcase_add_loop_test(tests, unwatched_connection_is_closed, 0, COUNT(before_the_loss));
    tcase_add_test(tests, unwatched_listener_is_watched_again);
    tcase_add_test(tests, unwatched_listener_pauses_for_a_second);
    tcase_add_test(tests, connection_of_a_running_job_is_not_closed);

    tests = world_case(suite, "stale events");
    tcase_add_test(tests, stale_events_are_harmless);
    tcase_add_test(tests, reused_descriptor_is_a_new_connection);
}

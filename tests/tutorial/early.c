/* libev reads its clock once for each turn of the loop. A callback that computes, and then starts a
 * timer, gets one that is early by the time it has computed; ev_now_update looks again. */
#include "common/clock.h"

#include <err.h>
#include <ev.h>
#include <stdio.h>

static int64_t started_ns;

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    printf("%.1f s\n", (double)(clock_now_ns() - started_ns) / NS_PER_S);
}

static void compute(struct ev_loop *loop, ev_prepare *prepare, int events)
{
    ev_timer *timer = prepare->data;

    (void)events;
    ev_prepare_stop(loop, prepare);
    clock_sleep_until(clock_now_ns() + 3 * NS_PER_S / 10); /* as a callback that computes */
    started_ns = clock_now_ns();
    ev_timer_start(loop, timer);
}

int main(void)
{
    struct ev_loop *loop = ev_default_loop(0);
    ev_timer timer;
    ev_prepare prepare;

    if (loop == NULL)
        errx(1, "ev_default_loop: no backend");
    ev_timer_init(&timer, on_timer, 0.5, 0.);
    ev_prepare_init(&prepare, compute);
    prepare.data = &timer;
    ev_prepare_start(loop, &prepare);
    printf("a timer of 0.5 s, started after computing for 0.3 s, fired after ");
    fflush(stdout);
    ev_run(loop, 0);
    return 0;
}

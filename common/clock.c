#include "common/clock.h"

#include <err.h>
#include <errno.h>

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;

    if (clock_gettime(clock, &now) < 0)
        err(1, "clock_gettime");
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t clock_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

time_t clock_date(void)
{
    return time(NULL);
}

void clock_compute(int64_t duration_ns)
{
    int64_t end_ns = read_clock(CLOCK_THREAD_CPUTIME_ID) + duration_ns;
    volatile unsigned result = 1;

    while (read_clock(CLOCK_THREAD_CPUTIME_ID) < end_ns) /* a system call: make it rarely */
        for (int i = 0; i < 100000; i++)
            result = result * 1664525 + 1013904223;
}

void clock_sleep_until(int64_t moment_ns)
{
    struct timespec moment = {(time_t)(moment_ns / NS_PER_S), (long)(moment_ns % NS_PER_S)};
    int error;

    /* The time is absolute: after a signal, we sleep on until the same moment. */
    do
        error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL);
    while (error == EINTR);
    if (error != 0) {
        errno = error; /* clock_nanosleep returns it instead */
        err(1, "clock_nanosleep");
    }
}

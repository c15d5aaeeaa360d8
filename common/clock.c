#include "common/clock.h"

#include "common/util.h"

#include <errno.h>
#include <string.h>
#include <time.h>

int64_t clock_now_ns(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) < 0)
        die("clock_gettime:");
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

void clock_sleep_until(int64_t moment_ns)
{
    struct timespec moment = {moment_ns / NS_PER_S, moment_ns % NS_PER_S};
    int error;

    /* The time is absolute, so after a signal we go back to sleep and lose nothing. */
    do
        error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL);
    while (error == EINTR);
    if (error != 0)
        die("clock_nanosleep: %s", strerror(error));
}

/* Time: in nanoseconds of CLOCK_MONOTONIC, a clock that never goes back; and the date. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

/* Return the time. This is usually no system call: the kernel maps the clock into the process
 * (vdso(7)). */
int64_t clock_now_ns(void);

/* Return the date. This clock may be set, so it measures nothing. */
time_t clock_date(void);

/* Keep a processor busy: return when the calling thread has used duration_ns of processor time. */
void clock_compute(int64_t duration_ns);

/* Sleep until the clock shows moment_ns. A signal does not cut the sleep short. */
void clock_sleep_until(int64_t moment_ns);

#endif

/* Timers in a heap: an array in which the timer at i is not due later than those at 2i and 2i + 1.
 * So the first is due next, and to set or to clear one moves a handful of others, even among
 * 10,000. */
#ifndef TESTS_JUDGING_TIMERS_H
#define TESTS_JUDGING_TIMERS_H

#include "common/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    int64_t due_ns;
    size_t place; /* in the heap; 0: it is not set */
};

static struct {
    struct timer **at; /* at[1] is the first */
    size_t count, room;
} timers;

/* Make room, so that count timers can be set. Return false if there is no memory. */
static inline bool timers_reserve(size_t count)
{
    struct timer **at = table_grow(timers.at, &timers.room, count, sizeof(*at));

    if (at != NULL)
        timers.at = at;
    return at != NULL;
}

static inline void timers_put(struct timer *t, size_t place)
{
    timers.at[place] = t;
    t->place = place;
}

/* Move a timer up from this place, or down, to where it belongs. */
static inline void timers_settle(struct timer *t, size_t place)
{
    for (; place > 1 && timers.at[place / 2]->due_ns > t->due_ns; place /= 2)
        timers_put(timers.at[place / 2], place);
    for (size_t next; (next = 2 * place) <= timers.count; place = next) {
        if (next < timers.count && timers.at[next + 1]->due_ns < timers.at[next]->due_ns)
            next++;
        if (timers.at[next]->due_ns >= t->due_ns)
            break;
        timers_put(timers.at[next], place);
    }
    timers_put(t, place);
}

static inline void timer_set(struct timer *t, int64_t due_ns)
{
    t->due_ns = due_ns;
    timers_settle(t, t->place != 0 ? t->place : ++timers.count);
}

static inline void timer_clear(struct timer *t)
{
    size_t place = t->place;

    t->place = 0;
    if (place != 0) {
        struct timer *last = timers.at[timers.count--];
        if (last != t)
            timers_settle(last, place);
    }
}

/* Return the timer that is due next, or NULL. */
static inline struct timer *timers_first(void)
{
    return timers.count > 0 ? timers.at[1] : NULL;
}

#endif

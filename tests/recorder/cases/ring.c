/* epoll_ctl as libuv makes it since version 1.45: through io_uring, and so in no call of that name.
 * Linked into 05-epoll, it takes the place of the one of libc. */
#include "tests/judging/ring.h"

#include <sys/epoll.h>

__attribute__((constructor)) static void start(void)
{
    ring_start();
}

int epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    ring_request(IORING_OP_EPOLL_CTL, epoll, event, (size_t)op, NULL)->off = (unsigned)fd;
    ring_enter(NULL);
    int result = ring.cqes[ring.head++ % ring.results].res;
    atomic_store_explicit(ring.cq_head, ring.head, memory_order_release);
    if (result < 0)
        errno = -result;
    return result < 0 ? -1 : 0;
}

/* A ring of io_uring(7), in raw system calls: what liburing would do. The kernel shares two queues
 * with us: of requests (sqe) and of results (cqe). */
#ifndef TESTS_EXERCISES_RING_H
#define TESTS_EXERCISES_RING_H

#include "common/net.h"
#include "common/util.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What is in flight, and what to do with its result: a number, or an error as -errno. */
struct operation {
    void (*then)(struct operation *done, int result);
};

static struct {
    int fd;
    unsigned mask, cq_mask;
    unsigned tail, cq_head; /* ours; the kernel sees what is stored in sq_tail and cq_seen */
    _Atomic unsigned *sq_head, *sq_tail, *cq_seen, *cq_tail;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
} ring;

static inline void *ring_map(size_t size, off_t offset)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, offset);

    if (at == MAP_FAILED)
        die("mmap of the ring:");
    return at;
}

/* Create the ring; die if that fails. entries is a power of two. */
static inline void ring_start(unsigned entries)
{
    struct io_uring_params p = {0};

    ring.fd = (int)syscall(SYS_io_uring_setup, entries, &p);
    if (ring.fd < 0)
        die("io_uring_setup:");
    char *sq = ring_map(p.sq_off.array + entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    unsigned *array = (void *)(sq + p.sq_off.array);
    char *cq =
        ring_map(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    ring.sqes = ring_map(entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    ring.cqes = (void *)(cq + p.cq_off.cqes);
    ring.mask = entries - 1;
    ring.cq_mask = p.cq_entries - 1;
    ring.sq_head = (void *)(sq + p.sq_off.head);
    ring.sq_tail = (void *)(sq + p.sq_off.tail);
    ring.cq_seen = (void *)(cq + p.cq_off.head);
    ring.cq_tail = (void *)(cq + p.cq_off.tail);
    for (unsigned i = 0; i < entries; i++)
        array[i] = i;
}

static inline unsigned ring_waiting(void)
{
    return ring.tail - atomic_load_explicit(ring.sq_head, memory_order_acquire);
}

/* Hand in all requests, and wait until there are so many results. As in epoll_pwait, the signals of
 * unblocked are let in for the wait alone. */
static inline void ring_enter(unsigned results, const sigset_t *unblocked)
{
    atomic_store_explicit(ring.sq_tail, ring.tail, memory_order_release);
    long n = syscall(SYS_io_uring_enter, ring.fd, ring_waiting(), results, IORING_ENTER_GETEVENTS,
                     unblocked, _NSIG / 8);
    if (n < 0 && errno != EBUSY) /* it has results that need room: ring_reap */
        net_wait_failed("io_uring_enter");
}

/* Make sure that the next two requests are handed in together, as those of a link must be. */
static inline void ring_make_room(void)
{
    while (ring_waiting() >= ring.mask)
        ring_enter(0, NULL);
}

/* Return a new request, for the caller to complete. Without an operation, its result is dropped. */
static inline struct io_uring_sqe *ring_request(unsigned char opcode, int fd,
                                                struct operation *operation)
{
    struct io_uring_sqe *sqe = &ring.sqes[ring.tail++ & ring.mask];

    *sqe = (struct io_uring_sqe){.opcode = opcode, .fd = fd, .user_data = (unsigned long)operation};
    return sqe;
}

/* Do what is to be done with each result that is there. */
static inline void ring_reap(void)
{
    while (ring.cq_head != atomic_load_explicit(ring.cq_tail, memory_order_acquire)) {
        struct io_uring_cqe cqe = ring.cqes[ring.cq_head++ & ring.cq_mask];
        atomic_store_explicit(ring.cq_seen, ring.cq_head, memory_order_release);
        struct operation *operation = (void *)(unsigned long)cqe.user_data;
        if (operation != NULL)
            operation->then(operation, cqe.res);
    }
}

#endif

/* A ring of io_uring(7), in raw system calls: what liburing would do. The kernel shares two queues
 * with us: of requests (sqe), to whose tail we add, and of results (cqe), from whose head we take.
 * Whoever loads an index (acquire) sees all that was written before its store (release). */
#ifndef TESTS_EXERCISES_RING_H
#define TESTS_EXERCISES_RING_H

#include "common/clock.h"
#include "common/net.h"

#include <err.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How to go on with a connection: result is that of its operation, a number or -errno. */
struct connection;
typedef void continuation(struct connection *c, int result);

/* What is in flight for a connection, whose first member this is. */
struct operation {
    continuation *then;
    struct __kernel_timespec deadline;
};

enum {
    RING_ENTRIES = 256, /* a power of two */
    RING_ROOM = 5,      /* no more requests follow from one result and a signal */
};

static struct {
    int fd;
    unsigned tail, head, results; /* of requests; of results; the length of the queue of results */
    _Atomic unsigned *sq_head, *sq_tail, *cq_head, *cq_tail; /* shared with the kernel */
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
} ring;

static inline void *ring_map(size_t size, off_t offset)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, offset);

    if (at == MAP_FAILED)
        err(1, "mmap of the ring");
    return at;
}

/* Create the ring; exit if that fails. */
static inline void ring_start(void)
{
    struct io_uring_params p = {0};

    ring.fd = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &p);
    if (ring.fd < 0)
        err(1, "io_uring_setup");
    size_t requests = p.sq_off.array + RING_ENTRIES * sizeof(unsigned);
    size_t results = p.cq_off.cqes + p.cq_entries * sizeof *ring.cqes;
    /* One mapping has both queues, since Linux 5.4. */
    char *both = ring_map(requests > results ? requests : results, IORING_OFF_SQ_RING);
    ring.sqes = ring_map(RING_ENTRIES * sizeof *ring.sqes, IORING_OFF_SQES);
    ring.cqes = (void *)(both + p.cq_off.cqes);
    ring.results = p.cq_entries;
    ring.sq_head = (void *)(both + p.sq_off.head);
    ring.sq_tail = (void *)(both + p.sq_off.tail);
    ring.cq_head = (void *)(both + p.cq_off.head);
    ring.cq_tail = (void *)(both + p.cq_off.tail);
    unsigned *array = (void *)(both + p.sq_off.array);
    for (unsigned i = 0; i < RING_ENTRIES; i++)
        array[i] = i;
}

/* Return the number of requests that have not been handed in. */
static inline unsigned ring_waiting(void)
{
    return ring.tail - atomic_load_explicit(ring.sq_head, memory_order_acquire);
}

/* Return a new request, for the caller to complete. Without an operation, its result is dropped. */
static inline struct io_uring_sqe *ring_request(unsigned char opcode, int fd, const void *address,
                                                size_t length, struct operation *o)
{
    struct io_uring_sqe *sqe = &ring.sqes[ring.tail++ % RING_ENTRIES];

    *sqe = (struct io_uring_sqe){.opcode = opcode, .fd = fd, .addr = (uintptr_t)address};
    sqe->len = (unsigned)length;
    sqe->user_data = (uintptr_t)o;
    return sqe;
}

static inline void ring_set_deadline(struct operation *o, int64_t ns)
{
    ns += clock_now_ns();
    o->deadline = (struct __kernel_timespec){ns / NS_PER_S, ns % NS_PER_S};
}

/* Receive or send bytes, until the deadline: then the result is -ECANCELED. */
static inline void ring_transfer(struct operation *o, unsigned char opcode, int fd, char *bytes,
                                 size_t length, continuation *then)
{
    struct io_uring_sqe *sqe = ring_request(opcode, fd, bytes, length, o);

    o->then = then;
    sqe->msg_flags = MSG_NOSIGNAL;
    sqe->flags = IOSQE_IO_LINK;
    sqe = ring_request(IORING_OP_LINK_TIMEOUT, -1, &o->deadline, 1, NULL);
    sqe->timeout_flags = IORING_TIMEOUT_ABS;
}

/* Wait for so long. The result is -ETIME. */
static inline void ring_sleep(struct operation *o, int64_t ns, continuation *then)
{
    ring_set_deadline(o, ns);
    o->then = then;
    ring_request(IORING_OP_TIMEOUT, -1, &o->deadline, 1, o)->timeout_flags = IORING_TIMEOUT_ABS;
}

/* Hand in all requests, and wait for a result. As in epoll_pwait, the signals of unblocked are let
 * in for the wait alone. */
static inline void ring_enter(const sigset_t *unblocked)
{
    atomic_store_explicit(ring.sq_tail, ring.tail, memory_order_release);
    long n = syscall(SYS_io_uring_enter, ring.fd, ring_waiting(), 1, IORING_ENTER_GETEVENTS,
                     unblocked, _NSIG / 8);
    if (n < 0 && errno != EBUSY) /* the kernel has more results than there is room for */
        net_wait_failed("io_uring_enter");
}

/* Go on with each connection whose operation is complete, while there is room for what it requests:
 * requests that are linked must be handed in together. */
static inline void ring_reap(void)
{
    while (ring.head != atomic_load_explicit(ring.cq_tail, memory_order_acquire) &&
           ring_waiting() <= RING_ENTRIES - RING_ROOM) {
        struct io_uring_cqe result = ring.cqes[ring.head++ % ring.results];
        atomic_store_explicit(ring.cq_head, ring.head, memory_order_release);
        struct operation *o = (void *)(uintptr_t)result.user_data;
        if (o != NULL)
            o->then((struct connection *)o, result.res);
    }
}

#endif

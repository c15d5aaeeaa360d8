/* Does a stage with threads give back what it takes, and survive what it does not get? Its object
 * file asks for careful_malloc where it says malloc, and so on (objcopy(1), --redefine-sym);
 * common/ gets the C library's. One allocation and one thread are refused. A descriptor that is
 * closed twice, memory that is freed twice, memory that is left at the end, and a thread that is
 * born with SIGTERM unmasked are errors. */
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void *careful_malloc(size_t size);
void *careful_calloc(size_t count, size_t size);
void careful_free(void *memory);
int careful_close(int fd);
int careful_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                           void *(*function)(void *), void *argument);
int careful_accept4(int listener, struct sockaddr *address, socklen_t *length, int flags);
int careful_accept(int listener, struct sockaddr *address, socklen_t *length);

enum { REFUSED_BLOCK = 3, REFUSED_THREAD = 5, MOST_BLOCKS = 1 << 12, GARBAGE = 0xa5 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *blocks[MOST_BLOCKS]; /* since the first client came */
static atomic_bool serving;

/* Keep memory in mind, or refuse it. Return it, or NULL. */
static void *note(void *memory)
{
    static int count;

    pthread_mutex_lock(&lock);
    if (serving && ++count == REFUSED_BLOCK) {
        free(memory);
        memory = NULL;
        warnx("a client has been refused memory");
        errno = ENOMEM;
    }
    for (int i = 0; serving && memory != NULL && i < MOST_BLOCKS; i++)
        if (blocks[i] == NULL) {
            blocks[i] = memory;
            break;
        }
    pthread_mutex_unlock(&lock);
    return memory;
}

void *careful_malloc(size_t size)
{
    void *memory = malloc(size);

    if (memory != NULL)
        memset(memory, GARBAGE, size);
    return note(memory);
}

void *careful_calloc(size_t count, size_t size)
{
    return note(calloc(count, size));
}

/* Forget memory. Return whether it was known. */
static bool forget(const void *memory)
{
    bool found = false;

    pthread_mutex_lock(&lock);
    for (int i = 0; !found && i < MOST_BLOCKS; i++)
        if (blocks[i] == memory) {
            blocks[i] = NULL;
            found = true;
        }
    pthread_mutex_unlock(&lock);
    return found;
}

void careful_free(void *memory)
{
    if (memory != NULL && !forget(memory))
        errx(1, "free of memory that is not allocated, or was before the first client");
    free(memory);
}

int careful_close(int fd)
{
    int result = close(fd);

    if (result < 0 && errno == EBADF)
        errx(1, "close of a descriptor that is not open");
    return result;
}

int careful_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                           void *(*function)(void *), void *argument)
{
    static int count; /* one thread creates the others */
    sigset_t mask;

    if (++count == REFUSED_THREAD) {
        warnx("a client has been refused a thread");
        return EAGAIN;
    }
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (sigismember(&mask, SIGTERM) == 0)
        errx(1, "a thread begins with a mask that lets SIGTERM in");
    return pthread_create(thread, attributes, function, argument);
}

int careful_accept4(int listener, struct sockaddr *address, socklen_t *length, int flags)
{
    serving = true;
    return accept4(listener, address, length, flags);
}

int careful_accept(int listener, struct sockaddr *address, socklen_t *length)
{
    serving = true;
    return accept(listener, address, length);
}

/* A thread may still be about to free what it has. */
__attribute__((destructor)) static void expect_all_freed(void)
{
    int left = 1;

    for (int tries = 0; left > 0 && tries < 100; tries++) {
        pthread_mutex_lock(&lock);
        left = 0;
        for (int i = 0; i < MOST_BLOCKS; i++)
            left += blocks[i] != NULL;
        pthread_mutex_unlock(&lock);
        if (left > 0)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    if (left > 0) {
        warnx("memory that the stage has allocated and not freed: blocks for %d clients", left);
        _exit(1);
    }
}

/* 02: a thread for each connection.
 * Model: accept a client and start a thread, which reads, waits and writes in blocking calls.
 * Cost:  a thread for each client, even an idle one: a stack, a kernel task, switches between them.
 * Limit: the number of threads (pthread_create returns EAGAIN), and the locks that they share. */
#include "common/blocking.h"
#include "common/clock.h"
#include "common/net.h"
#include "common/stop.h"
#include "common/util.h"
#include "common/workers.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    struct conversation conversation;
    LIST_ENTRY(client) link;
};

static struct options options;
static LIST_HEAD(list, client) clients = LIST_HEAD_INITIALIZER(clients);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects clients */
static pthread_cond_t all_gone = PTHREAD_COND_INITIALIZER;
static sem_t slots; /* --threads: how many more clients may be served now */

static void free_slot(void)
{
    if (options.threads > 0)
        sem_post(&slots);
}

static void *serve(void *argument)
{
    struct client *client = argument;

    blocking_converse(&client->conversation, &options, true);
    pthread_mutex_lock(&lock);
    LIST_REMOVE(client, link);
    /* Close under the lock: accept may reuse the number immediately, and hang_up_idle must not shut
     * down the client that gets it. */
    close(client->conversation.fd);
    if (LIST_EMPTY(&clients))
        pthread_cond_signal(&all_gone);
    pthread_mutex_unlock(&lock);
    free(client);
    free_slot();
    return NULL;
}

static bool any_client(void)
{
    pthread_mutex_lock(&lock);
    bool any = !LIST_EMPTY(&clients);
    pthread_mutex_unlock(&lock);
    return any;
}

static void hang_up_idle(void)
{
    pthread_mutex_lock(&lock);
    for (struct client *c = LIST_FIRST(&clients); c != NULL; c = LIST_NEXT(c, link))
        blocking_hang_up(&c->conversation);
    pthread_mutex_unlock(&lock);
}

/* With --threads: wait until a thread is free. Once told to stop, hang up on idle clients first.
 * If the signal comes after that check, its handler frees a slot for us. */
static void take_slot(void)
{
    if (options.threads == 0 || sem_trywait(&slots) == 0)
        return;
    if (stop_requested)
        hang_up_idle();
    while (sem_wait(&slots) < 0 && errno == EINTR)
        ;
}

/* Out of descriptors, threads or memory: sleep a little, so that a thread may end. Return false to
 * give up, once told to stop: it is hopeless, or has lasted too long. */
static bool wait_for_resources(bool hopeless)
{
    if (stop_requested) {
        static int64_t give_up_ns;
        if (give_up_ns == 0)
            give_up_ns = clock_now_ns() + options.timeout_ns;
        if (hopeless || clock_now_ns() >= give_up_ns)
            return false;
        hang_up_idle();
    }
    clock_sleep_until(clock_now_ns() + NET_RETRY_NS);
    return true;
}

/* Accept a client. Out of descriptors or memory, the client is still in the backlog, so try again.
 * Return -1 with errno if this one is lost, or once told to stop: EAGAIN if the backlog is empty.
 */
static int accept_client(int listener)
{
    for (;;) {
        bool alone = !any_client(); /* if accept fails now, no client can free a descriptor */
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 || errno == EAGAIN || net_accept_again(errno) || !wait_for_resources(alone))
            return fd;
    }
}

/* Return false if there is no memory, or no thread, to be had. */
static bool start_thread(int fd, const pthread_attr_t *detached)
{
    struct client *client = malloc(sizeof *client);
    sigset_t all, unblocked;
    pthread_t thread;

    if (client == NULL)
        return false;
    client->conversation = (struct conversation){.fd = fd};
    sigfillset(&all); /* for the thread: a signal must interrupt accept, in the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &unblocked);
    pthread_mutex_lock(&lock); /* the thread must not leave the list before it is in it */
    /* pthread_create returns its error and does not set errno. The thread is given memory of its
     * own: a variable of ours would change while the thread still reads it. */
    int error = pthread_create(&thread, detached, serve, client);
    if (error == 0)
        LIST_INSERT_HEAD(&clients, client, link);
    else
        free(client);
    pthread_mutex_unlock(&lock);
    pthread_sigmask(SIG_SETMASK, &unblocked, NULL);
    return error == 0;
}

static void wait_for_all_clients(void)
{
    pthread_mutex_lock(&lock);
    while (!LIST_EMPTY(&clients))
        pthread_cond_wait(&all_gone, &lock);
    pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv)
{
    pthread_attr_t detached;

    options = options_parse(argc, argv, "02-threaded");
    if (pthread_attr_init(&detached) != 0 ||
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED) != 0 ||
        sem_init(&slots, 0, (unsigned)options.threads) < 0)
        die("cannot set up threads");
    stop_catch(free_slot);
    int listener = net_listen(options.name, options.host, options.port, 0);
    workers_fork(&options, listener);

    int backlog = SOMAXCONN + 1; /* as many clients may have connected before the signal to stop */
    while (!stop_requested || backlog-- > 0) {
        take_slot();
        int fd = accept_client(listener);
        if (fd < 0) {
            free_slot();
            if (!net_accept_again(errno))
                break;
            continue;
        }
        while (!start_thread(fd, &detached)) /* a thread frees its stack after it has closed fd */
            if (!wait_for_resources(false)) {
                close(fd);
                free_slot();
                break;
            }
    }
    close(listener);
    hang_up_idle();
    wait_for_all_clients();
    pthread_attr_destroy(&detached);
    return 0;
}

/* A thread for each client. /slow takes a second, and /fast waits for it in one of many ways.
 *
 * usage: ways PORT WAY
 *
 * mutex      /slow holds a mutex              rwlock  it writes, and /fast reads
 * condition  /fast waits until /slow says so  semaphore  the same, with a semaphore
 * pipe       /fast reads what /slow writes    spin    /fast looks again and again, without a pause
 * calls      the same, with a system call each time
 * join       /slow starts a thread and waits for its end, holding the mutex */
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t semaphore;
static int ends[2];
static atomic_bool begun, done;
static const char *way;

static void *sleep_for_a_second(void *argument)
{
    nanosleep(&(struct timespec){1, 0}, NULL);
    return argument;
}

static void slow(void)
{
    pthread_t thread;

    begun = true;
    if (strcmp(way, "mutex") == 0 || strcmp(way, "join") == 0)
        pthread_mutex_lock(&mutex);
    if (strcmp(way, "rwlock") == 0)
        pthread_rwlock_wrlock(&lock);
    if (strcmp(way, "join") == 0 && pthread_create(&thread, NULL, sleep_for_a_second, NULL) == 0)
        pthread_join(thread, NULL);
    else
        sleep_for_a_second(NULL);
    done = true;
    if (strcmp(way, "rwlock") == 0) {
        pthread_rwlock_unlock(&lock);
    } else if (strcmp(way, "condition") == 0) {
        pthread_mutex_lock(&mutex);
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
    } else if (strcmp(way, "semaphore") == 0) {
        sem_post(&semaphore);
    } else if (strcmp(way, "pipe") == 0) {
        if (write(ends[1], "!", 1) < 0)
            perror("write");
    } else if (strcmp(way, "spin") != 0 && strcmp(way, "calls") != 0) {
        pthread_mutex_unlock(&mutex);
    }
}

static void fast(void)
{
    char byte;

    if (strcmp(way, "rwlock") == 0) {
        pthread_rwlock_rdlock(&lock);
        pthread_rwlock_unlock(&lock);
    } else if (strcmp(way, "condition") == 0) {
        pthread_mutex_lock(&mutex);
        while (begun && !done)
            pthread_cond_wait(&condition, &mutex);
        pthread_mutex_unlock(&mutex);
    } else if (strcmp(way, "semaphore") == 0) {
        while (begun && sem_wait(&semaphore) != 0)
            ;
    } else if (strcmp(way, "pipe") == 0) {
        if (begun && read(ends[0], &byte, 1) < 0)
            perror("read");
    } else if (strcmp(way, "spin") == 0) {
        while (begun && !done)
            ;
    } else if (strcmp(way, "calls") == 0) {
        while (begun && !done)
            getppid();
    } else {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
    }
}

static void *serve(void *argument)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone";
    int client = (int)(intptr_t)argument;
    char head[4096] = "";

    if (recv(client, head, sizeof head - 1, 0) > 0) {
        if (strncmp(head, "GET /slow", 9) == 0)
            slow();
        else
            fast();
        if (send(client, answer, sizeof answer - 1, 0) < 0)
            perror("send");
    }
    close(client);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), client;
    pthread_t thread;

    if (argc < 3)
        return 2;
    address.sin_port = htons((uint16_t)strtol(argv[1], NULL, 10));
    way = argv[2];
    if (sem_init(&semaphore, 0, 0) < 0 || pipe(ends) < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 9) < 0)
        return 1;
    while ((client = accept(listener, NULL, NULL)) >= 0)
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)client) != 0)
            return 1;
}

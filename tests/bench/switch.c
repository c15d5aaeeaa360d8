/* What it costs to go on somewhere else and to come back: a call, a switch of stacks, two threads.
 * switches.py runs this program, and adds the ways of Python. For each way and round, it prints the
 * CPU time in ns, kernel and both threads included, for half of the way there and back.
 * (switch-ucontext is this file, built with -DUCONTEXT.) */
#include "common/clock.h"
#include "tests/judging/stack.h"

#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef UCONTEXT
#define WAY "ucontext"
#else
#define WAY "assembly"
#endif

enum { STACK_SIZE = 64 << 10 };

static struct stack here, there;
static sem_t to_thread, to_main;
static long count;
static long work; /* so that the compiler keeps the call */

__attribute__((noinline)) static void call(void)
{
    work++;
    __asm__ volatile("" ::: "memory");
}

static void bottom(void)
{
    stack_begin(&here);
    for (;;)
        stack_switch(&there, &here);
}

static void *other_thread(void *argument)
{
    for (long i = 0; i < count; i++) {
        sem_wait(&to_thread);
        sem_post(&to_main);
    }
    return argument;
}

static double cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void print(const char *way, double begun_ns, long n)
{
    printf("%s\t%.3f\n", way, (cpu_ns() - begun_ns) / (double)n);
}

static void measure_threads(long n)
{
    pthread_t thread;

    count = n;
    if (pthread_create(&thread, NULL, other_thread, NULL) != 0)
        errx(1, "pthread_create failed");
    double begun_ns = cpu_ns();
    for (long i = 0; i < n; i++) {
        sem_post(&to_thread);
        sem_wait(&to_main);
    }
    print("threads", begun_ns, 2 * n);
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 5;
    cpu_set_t one;

    /* On one core: or the threads would also pay for waking each other on the other core. */
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof one, &one) < 0 || !stack_new(&there, STACK_SIZE, bottom) ||
        sem_init(&to_thread, 0, 0) < 0 || sem_init(&to_main, 0, 0) < 0)
        err(1, "cannot begin");
    stack_switch(&here, &there);
    for (int i = 0; i < rounds; i++) {
        const long n = 200000;
        double begun_ns = cpu_ns();
        for (long k = 0; k < 50 * n; k++)
            call();
        print("call", begun_ns, 100 * n);
        begun_ns = cpu_ns();
        for (long k = 0; k < n; k++)
            stack_switch(&here, &there);
        print(WAY, begun_ns, 2 * n);
        measure_threads(n / 10);
    }
    return 0;
}

/* cpu PID...: the CPU time that these processes have taken so far, in microseconds: user and system
 * time of all their threads, those that have ended too (clock_getcpuclockid(3)). /proc/PID/stat
 * counts the same in ticks of 10 ms, too coarse for a second's work. */
#include "common/util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int main(int argc, char **argv)
{
    double us = 0;

    if (argc < 2) {
        fputs("usage: cpu PID...\n", stderr);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        char *end;
        long pid = strtol(argv[i], &end, 10);
        clockid_t clock;
        struct timespec time;

        if (pid <= 0 || *end != '\0') {
            fprintf(stderr, "cpu: %s: want the number of a process\n", argv[i]);
            return 2;
        }
        int error = clock_getcpuclockid((pid_t)pid, &clock);
        if (error != 0)
            die("process %s: %s", argv[i], strerror(error));
        if (clock_gettime(clock, &time) < 0)
            die("process %s:", argv[i]);
        us += (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
    }
    printf("%.3f\n", us);
    return 0;
}

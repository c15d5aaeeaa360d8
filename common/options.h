/* The one command line of all six servers. */
#ifndef COMMON_OPTIONS_H
#define COMMON_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
    const char *name; /* of the stage; also sent as its Server header */
    const char *host; /* numeric address */
    const char *port;
    int64_t delay_ns;   /* how long /slow waits */
    int64_t timeout_ns; /* how long we wait for a client to send or read */
    int workers;        /* processes */
    int threads;        /* of the pool beside the loop; 0: no pool */
    bool block;         /* /slow sleeps in a call that blocks */
    bool compute;       /* /slow computes instead of waiting */
    bool verbose;
};

/* The options that not every stage supports: a stage states those that it does. */
enum { WITH_BLOCK = 1, WITH_COMPUTE = 2, WITH_THREADS = 4, WITH_ALL = 7 };

/* Parse the command line. --help and --version exit with status 0; a mistake exits with status 2,
 * after a line on stderr that names the option and the value; an option that this stage does not
 * support is a mistake. The strings belong to argv. From now on, each line of stderr is one write,
 * so that the lines of several processes do not mix. */
struct options options_parse(int argc, char **argv, const char *name, int supported);

#endif

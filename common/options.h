/* The one command line of all six servers. */
#ifndef COMMON_OPTIONS_H
#define COMMON_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
    const char *name; /* of the stage, which is its Server header too */
    const char *host; /* numeric address */
    const char *port;
    int64_t delay_ns;   /* how long /slow waits */
    int64_t timeout_ns; /* how long a client may keep us waiting */
    int workers;        /* processes */
    bool block;         /* /slow sleeps inside the event loop */
    bool verbose;
};

/* Reads the command line. --help and --version end the program with 0, a mistake with 2 and a
 * line that names the option and the value. The strings belong to argv. */
struct options options_parse(int argc, char **argv, const char *name);

#endif

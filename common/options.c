#include "common/options.h"

#include "common/clock.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION "1.0"

static const char usage[] =
    "usage: %s [OPTION]...\n"
    "Answer GET /fast immediately, and GET /slow after a delay.\n\n"
    "  --host ADDRESS     address to listen on (127.0.0.1)\n"
    "  --port PORT        port to listen on; 0 lets the kernel choose (8000)\n"
    "  --delay SECONDS    how long /slow waits, such as 0.5 (10)\n"
    "  --timeout SECONDS  how long to wait for a client to send or read (10)\n"
    "  --workers N        number of processes that share the port (1)\n"
    "  --block            let /slow sleep inside the event loop (03 to 06; 01 and 02 have no\n"
    "                     loop and always block)\n"
    "  --compute          let /slow compute for the delay instead of waiting\n"
    "  --threads N        with --block or --compute: run /slow in N threads beside the event\n"
    "                     loop (03 to 06)\n"
    "  --verbose          log each response to stderr\n"
    "  --help             print this text\n"
    "  --version          print the version\n";

static _Noreturn void reject(const char *option, const char *value, const char *reason)
{
    errx(2, "--%s %s: %s", option, value, reason);
}

/* Return nanoseconds. strtod alone would accept "", " 1", "1x", "inf" and "0x10". */
static int64_t parse_seconds(const char *option, const char *value, int64_t least_ns)
{
    char *end = NULL;
    double seconds = strspn(value, "0123456789.") == strlen(value) ? strtod(value, &end) : -1;

    if (end == NULL || end == value || *end != '\0' || seconds > 86400 ||
        seconds * (double)NS_PER_S < (double)least_ns)
        reject(option, value,
               least_ns > 0 ? "want seconds, from 0.001 to 86400"
                            : "want seconds, from 0 to 86400");
    return (int64_t)(seconds * (double)NS_PER_S);
}

static int parse_number(const char *option, const char *value, int least, int most)
{
    size_t length = strlen(value);
    long number = strtol(value, NULL, 10);

    if (length < 1 || length > 5 || strspn(value, "0123456789") < length || number < least ||
        number > most) {
        char wanted[48];
        snprintf(wanted, sizeof wanted, "want a number from %d to %d", least, most);
        reject(option, value, wanted);
    }
    return (int)number;
}

static const char *parse_host(const char *option, const char *value)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *address;

    if (strcmp(value, "localhost") == 0)
        return "127.0.0.1";
    if (getaddrinfo(value, NULL, &hints, &address) != 0)
        reject(option, value, "want an IP address, such as 127.0.0.1 or ::1");
    freeaddrinfo(address);
    return value;
}

enum { HOST, PORT, DELAY, TIMEOUT, WORKERS, THREADS, BLOCK, COMPUTE, VERBOSE, HELP, VERSION_ };

/* clang-format off */
static const struct option known[] = {
    {"host", required_argument, NULL, HOST},
    {"port", required_argument, NULL, PORT},
    {"delay", required_argument, NULL, DELAY},
    {"timeout", required_argument, NULL, TIMEOUT},
    {"workers", required_argument, NULL, WORKERS},
    {"threads", required_argument, NULL, THREADS},
    {"block", no_argument, NULL, BLOCK},
    {"compute", no_argument, NULL, COMPUTE},
    {"verbose", no_argument, NULL, VERBOSE},
    {"help", no_argument, NULL, HELP},
    {"version", no_argument, NULL, VERSION_},
    {0},
};
/* clang-format on */

static void set(struct options *o, int option, const char *value)
{
    switch (option) {
    case HOST:
        o->host = parse_host("host", value);
        break;
    case PORT:
        parse_number("port", value, 0, 65535);
        o->port = value;
        break;
    case DELAY:
        o->delay_ns = parse_seconds("delay", value, 0);
        break;
    case TIMEOUT:
        o->timeout_ns = parse_seconds("timeout", value, NS_PER_MS);
        break;
    case WORKERS:
        o->workers = parse_number("workers", value, 1, 1000);
        break;
    case THREADS:
        o->threads = parse_number("threads", value, 1, 1000);
        break;
    case BLOCK:
        o->block = true;
        break;
    case COMPUTE:
        o->compute = true;
        break;
    case VERBOSE:
        o->verbose = true;
        break;
    case HELP:
        printf(usage, program_invocation_short_name);
        exit(fflush(stdout) == 0 ? 0 : 1);
    case VERSION_:
        printf("%s %s\n", o->name, VERSION);
        exit(fflush(stdout) == 0 ? 0 : 1);
    }
}

static void check_supported(const struct options *o, int supported)
{
    if (o->block && !(supported & WITH_BLOCK))
        errx(2, "--block: this stage does not support it");
    if (o->compute && !(supported & WITH_COMPUTE))
        errx(2, "--compute: this stage does not support it");
    if (o->threads > 0 && !(supported & WITH_THREADS))
        errx(2,
             "--threads %d: this stage has no pool of threads (01-blocking --workers N serves N "
             "clients at a time)",
             o->threads);
    if (o->threads > 0 && !o->block && !o->compute)
        errx(2,
             "--threads %d: want --block or --compute too; without them, a loop needs no threads",
             o->threads);
}

struct options options_parse(int argc, char **argv, const char *name, int supported)
{
    static char line[1024];
    struct options o = {.name = name,
                        .host = "127.0.0.1",
                        .port = "8000",
                        .delay_ns = 10 * NS_PER_S,
                        .timeout_ns = 10 * NS_PER_S,
                        .workers = 1};

    setvbuf(stderr, line, _IOLBF, sizeof line);
    /* "+" stops at the first argument that is not an option, so that argv[at] is always the option
     * in question. ":" leaves the messages to us: each C library words them differently. */
    for (int option, at = optind; (option = getopt_long(argc, argv, "+:", known, NULL)) != -1;
         at = optind) {
        if (option == '?' || option == ':')
            errx(2, "%s: %s (see --help)", argv[at],
                 option == ':' ? "a value is missing" : "no such option");
        set(&o, option, optarg);
    }
    if (optind < argc)
        errx(2, "%s: unexpected argument (see --help)", argv[optind]);
    check_supported(&o, supported);
    return o;
}

#include "common/util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void die(const char *format, ...)
{
    int error = errno;
    size_t length = strlen(format);
    va_list args;

    flockfile(stderr); /* one line, even if other threads are printing too */
    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (length > 0 && format[length - 1] == ':')
        fprintf(stderr, " %s", strerror(error));
    fputc('\n', stderr);
    funlockfile(stderr);
    exit(1);
}

void *grow(void *table, size_t *count, size_t index, size_t size)
{
    if (index < *count)
        return table;
    size_t more = index + index / 2 + 64;
    char *grown = reallocarray(table, more, size);
    if (grown == NULL)
        return NULL;
    memset(grown + *count * size, 0, (more - *count) * size);
    *count = more;
    return grown;
}

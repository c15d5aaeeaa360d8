/* Fatal errors, and tables that grow. */
#ifndef COMMON_UTIL_H
#define COMMON_UTIL_H

#include <stddef.h>

/* Print one line to stderr and exit with status 1. If the format ends in a colon, append the text
 * of errno. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Make sure that table[index] exists, in an array of *count elements of size bytes each. Return the
 * array: if it had to grow, it may have moved, its new elements are zero, and *count is updated.
 * Return NULL if memory has run out; the array is then as it was. */
void *grow(void *table, size_t *count, size_t index, size_t size);

#endif

/* Tables that grow. */
#ifndef COMMON_TABLE_H
#define COMMON_TABLE_H

#include <stddef.h>

/* Make sure that table[index] exists, in an array of *count elements of size bytes each. Return the
 * array: if it had to grow, it may have moved, its new elements are zero, and *count is updated.
 * Return NULL if memory has run out; the array is then as it was. */
void *table_grow(void *table, size_t *count, size_t index, size_t size);

#endif

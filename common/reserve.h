/* Memory in reserve, for a library that aborts the process if an allocation fails. It takes what it
 * needs from the reserve; its user sees that the reserve cannot be filled again, and asks no more
 * of the library until it can. */
#ifndef COMMON_RESERVE_H
#define COMMON_RESERVE_H

#include <stdbool.h>
#include <stddef.h>

/* Do what realloc does, and what free does if size is 0; but if memory has run out, give up the
 * reserve and try once more. (size is long because libev wants that of its allocator.) */
void *reserve_realloc(void *old, long size);

/* Return true if at least size bytes are in reserve now. If not, memory has run out. */
bool reserve_fill(size_t size);

#endif

#include "common/table.h"

#include <stdlib.h>
#include <string.h>

void *table_grow(void *table, size_t *count, size_t index, size_t size)
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

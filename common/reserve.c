#include "common/reserve.h"

#include <stdlib.h>

static struct {
    void *memory;
    size_t size;
} reserve;

static void give_up(void)
{
    free(reserve.memory);
    reserve.memory = NULL;
    reserve.size = 0;
}

void *reserve_realloc(void *old, long size)
{
    if (size == 0) {
        free(old);
        return NULL;
    }
    void *new = realloc(old, (size_t)size);
    if (new == NULL) {
        give_up();
        new = realloc(old, (size_t)size);
    }
    return new;
}

bool reserve_fill(size_t size)
{
    if (reserve.size < size) {
        give_up();
        reserve.memory = malloc(size);
        reserve.size = reserve.memory != NULL ? size : 0;
    }
    return reserve.size >= size;
}

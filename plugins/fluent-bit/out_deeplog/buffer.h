/* Bytes that grow. A failed allocation is remembered, so that only the end of a piece of work has to look. */
#ifndef DEEPLOG_BUFFER_H
#define DEEPLOG_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *bytes;
    size_t size;
    size_t room;
    bool failed; /* memory ran out: what follows was not added */
};

void buffer_add(struct buffer *buffer, const void *bytes, size_t size);
void buffer_add_byte(struct buffer *buffer, uint8_t byte);
void buffer_add_text(struct buffer *buffer, const char *text);

/* Take bytes away at the front. */
void buffer_drop(struct buffer *buffer, size_t size);

/* Empty, with its memory kept. */
void buffer_clear(struct buffer *buffer);

/* Empty, without memory. */
void buffer_free(struct buffer *buffer);

#endif

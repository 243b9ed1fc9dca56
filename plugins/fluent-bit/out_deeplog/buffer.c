#include "buffer.h"

#include <stdlib.h>
#include <string.h>

static bool reserve(struct buffer *buffer, size_t size) {
    if (buffer->failed || size > SIZE_MAX / 2 - buffer->size) {
        buffer->failed = true;
        return false;
    }
    size_t wanted = buffer->size + size;
    if (wanted <= buffer->room) {
        return true;
    }
    size_t room = buffer->room ? buffer->room : 256;
    while (room < wanted) {
        room *= 2;
    }
    uint8_t *bytes = realloc(buffer->bytes, room);
    if (bytes == NULL) {
        buffer->failed = true;
        return false;
    }
    buffer->bytes = bytes;
    buffer->room = room;
    return true;
}

void buffer_add(struct buffer *buffer, const void *bytes, size_t size) {
    if (size > 0 && reserve(buffer, size)) {
        memcpy(buffer->bytes + buffer->size, bytes, size);
        buffer->size += size;
    }
}

void buffer_add_byte(struct buffer *buffer, uint8_t byte) {
    buffer_add(buffer, &byte, 1);
}

void buffer_add_text(struct buffer *buffer, const char *text) {
    buffer_add(buffer, text, strlen(text));
}

void buffer_drop(struct buffer *buffer, size_t size) {
    buffer->size -= size;
    if (buffer->size > 0 && size > 0) {
        memmove(buffer->bytes, buffer->bytes + size, buffer->size);
    }
}

void buffer_clear(struct buffer *buffer) {
    buffer->size = 0;
    buffer->failed = false;
}

void buffer_free(struct buffer *buffer) {
    free(buffer->bytes);
    *buffer = (struct buffer){0};
}

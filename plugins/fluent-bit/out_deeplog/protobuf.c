#include "protobuf.h"

#include <string.h>

enum { VARINT = 0, EIGHT_BYTES = 1, BYTES = 2, FOUR_BYTES = 5 };

void protobuf_add_varint(struct buffer *buffer, uint64_t number) {
    uint8_t bytes[10];
    size_t size = 0;
    while (number >= 0x80) {
        bytes[size++] = (uint8_t)(number | 0x80);
        number >>= 7;
    }
    bytes[size++] = (uint8_t)number;
    buffer_add(buffer, bytes, size);
}

size_t protobuf_varint_size(uint64_t number) {
    size_t size = 1;
    while (number >= 0x80) {
        number >>= 7;
        size++;
    }
    return size;
}

static void add_tag(struct buffer *buffer, unsigned field, unsigned wire) {
    protobuf_add_varint(buffer, (uint64_t)field << 3 | wire);
}

void protobuf_add_uint(struct buffer *buffer, unsigned field, uint64_t number) {
    add_tag(buffer, field, VARINT);
    protobuf_add_varint(buffer, number);
}

void protobuf_add_fixed64(struct buffer *buffer, unsigned field, uint64_t number) {
    add_tag(buffer, field, EIGHT_BYTES);
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(number >> 8 * i);
    }
    buffer_add(buffer, bytes, sizeof bytes);
}

void protobuf_add_bytes(struct buffer *buffer, unsigned field, const void *bytes, size_t size) {
    add_tag(buffer, field, BYTES);
    protobuf_add_varint(buffer, size);
    buffer_add(buffer, bytes, size);
}

void protobuf_add_pair(struct buffer *buffer, unsigned field, const void *key, size_t key_size, const void *value,
                       size_t value_size) {
    size_t size = 2 + protobuf_varint_size(key_size) + key_size + protobuf_varint_size(value_size) + value_size;
    add_tag(buffer, field, BYTES);
    protobuf_add_varint(buffer, size);
    protobuf_add_bytes(buffer, 1, key, key_size);
    protobuf_add_bytes(buffer, 2, value, value_size);
}

static bool read_varint(struct protobuf_reader *reader, uint64_t *number) {
    uint64_t sum = 0;
    for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
        uint8_t byte = *reader->at++;
        sum |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *number = sum;
            return true;
        }
    }
    return false;
}

static bool read_fixed(struct protobuf_reader *reader, unsigned width, uint64_t *number) {
    if ((size_t)(reader->end - reader->at) < width) {
        return false;
    }
    uint64_t sum = 0;
    for (unsigned i = 0; i < width; i++) {
        sum |= (uint64_t)*reader->at++ << 8 * i;
    }
    *number = sum;
    return true;
}

static bool read_value(struct protobuf_reader *reader, struct protobuf_field *field) {
    uint64_t size;
    switch (field->wire) {
    case VARINT:
        return read_varint(reader, &field->value);
    case EIGHT_BYTES:
        return read_fixed(reader, 8, &field->value);
    case FOUR_BYTES:
        return read_fixed(reader, 4, &field->value);
    case BYTES:
        if (!read_varint(reader, &size) || size > (size_t)(reader->end - reader->at)) {
            return false;
        }
        field->bytes = reader->at;
        field->size = size;
        reader->at += size;
        return true;
    default:
        return false;
    }
}

bool protobuf_next(struct protobuf_reader *reader, struct protobuf_field *field) {
    *field = (struct protobuf_field){0};
    if (reader->broken || reader->at == reader->end) {
        return false;
    }
    uint64_t tag;
    if (!read_varint(reader, &tag) || tag >> 3 == 0 || tag >> 32 != 0) {
        reader->broken = true;
        return false;
    }
    field->number = (unsigned)(tag >> 3);
    field->wire = (unsigned)(tag & 7);
    reader->broken = !read_value(reader, field);
    return !reader->broken;
}

struct protobuf_reader protobuf_inside(const struct protobuf_field *field) {
    return (struct protobuf_reader){
        .at = field->bytes, .end = field->bytes + field->size, .broken = field->bytes == NULL};
}

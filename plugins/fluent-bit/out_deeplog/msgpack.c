#include "msgpack.h"

#include <string.h>

static size_t left(const struct msgpack_reader *reader) {
    return (size_t)(reader->end - reader->at);
}

static bool read_number(struct msgpack_reader *reader, unsigned width, uint64_t *number) {
    if (left(reader) < width) {
        return false;
    }
    uint64_t sum = 0;
    for (unsigned i = 0; i < width; i++) {
        sum = sum << 8 | *reader->at++;
    }
    *number = sum;
    return true;
}

static bool read_bytes(struct msgpack_reader *reader, struct msgpack_value *value, enum msgpack_type type,
                       uint64_t size) {
    if (left(reader) < size) {
        return false;
    }
    value->type = type;
    value->bytes = reader->at;
    value->size = (uint32_t)size;
    reader->at += size;
    return true;
}

static bool read_sized(struct msgpack_reader *reader, struct msgpack_value *value, enum msgpack_type type,
                       unsigned width) {
    uint64_t size;
    return read_number(reader, width, &size) && read_bytes(reader, value, type, size);
}

static bool read_extension(struct msgpack_reader *reader, struct msgpack_value *value, uint64_t size) {
    uint64_t extension;
    if (!read_number(reader, 1, &extension)) {
        return false;
    }
    value->extension = (int8_t)(uint8_t)extension;
    return read_bytes(reader, value, MSGPACK_EXT, size);
}

/* An element is a byte at least: a head that promises more than is left is refused at once. */
static bool read_container(struct msgpack_reader *reader, struct msgpack_value *value, enum msgpack_type type,
                           uint64_t size) {
    if (size * (type == MSGPACK_MAP ? 2 : 1) > left(reader)) {
        return false;
    }
    value->type = type;
    value->size = (uint32_t)size;
    return true;
}

static bool read_real(struct msgpack_reader *reader, struct msgpack_value *value, unsigned width) {
    uint64_t bits;
    if (!read_number(reader, width, &bits)) {
        return false;
    }
    value->type = MSGPACK_FLOAT;
    if (width == 8) {
        memcpy(&value->real, &bits, sizeof value->real);
    }
    else {
        uint32_t half = (uint32_t)bits;
        float real;
        memcpy(&real, &half, sizeof real);
        value->real = real;
    }
    return true;
}

static bool read_integer(struct msgpack_reader *reader, struct msgpack_value *value, unsigned width) {
    uint64_t bits;
    if (!read_number(reader, width, &bits)) {
        return false;
    }
    int64_t integer = width == 1   ? (int8_t)(uint8_t)bits
                      : width == 2 ? (int16_t)(uint16_t)bits
                      : width == 4 ? (int32_t)(uint32_t)bits
                                   : (int64_t)bits;
    value->type = integer < 0 ? MSGPACK_INT : MSGPACK_UINT;
    value->integer = integer;
    return true;
}

bool msgpack_read(struct msgpack_reader *reader, struct msgpack_value *value) {
    *value = (struct msgpack_value){.type = MSGPACK_NIL};
    uint64_t head;
    uint64_t size;
    if (!read_number(reader, 1, &head)) {
        return false;
    }
    if (head <= 0x7f) {
        value->type = MSGPACK_UINT;
        value->natural = head;
        return true;
    }
    if (head >= 0xe0) {
        value->type = MSGPACK_INT;
        value->integer = (int8_t)(uint8_t)head;
        return true;
    }
    if (head <= 0x8f) {
        return read_container(reader, value, MSGPACK_MAP, head & 0x0f);
    }
    if (head <= 0x9f) {
        return read_container(reader, value, MSGPACK_ARRAY, head & 0x0f);
    }
    if (head <= 0xbf) {
        return read_bytes(reader, value, MSGPACK_STR, head & 0x1f);
    }
    switch (head) {
    case 0xc0:
        return true;
    case 0xc2:
    case 0xc3:
        value->type = MSGPACK_BOOL;
        value->boolean = head == 0xc3;
        return true;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return read_sized(reader, value, MSGPACK_BIN, 1U << (head - 0xc4));
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return read_number(reader, 1U << (head - 0xc7), &size) && read_extension(reader, value, size);
    case 0xca:
    case 0xcb:
        return read_real(reader, value, head == 0xca ? 4 : 8);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        value->type = MSGPACK_UINT;
        return read_number(reader, 1U << (head - 0xcc), &value->natural);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return read_integer(reader, value, 1U << (head - 0xd0));
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return read_extension(reader, value, 1U << (head - 0xd4));
    case 0xd9:
    case 0xda:
    case 0xdb:
        return read_sized(reader, value, MSGPACK_STR, 1U << (head - 0xd9));
    case 0xdc:
    case 0xdd:
        return read_number(reader, head == 0xdc ? 2 : 4, &size) && read_container(reader, value, MSGPACK_ARRAY, size);
    case 0xde:
    case 0xdf:
        return read_number(reader, head == 0xde ? 2 : 4, &size) && read_container(reader, value, MSGPACK_MAP, size);
    default: /* 0xc1 is never used */
        return false;
    }
}

bool msgpack_skip(struct msgpack_reader *reader) {
    uint64_t open = 1;
    while (open > 0) {
        struct msgpack_value value;
        if (!msgpack_read(reader, &value)) {
            return false;
        }
        open -= 1;
        if (value.type == MSGPACK_ARRAY) {
            open += value.size;
        }
        else if (value.type == MSGPACK_MAP) {
            open += 2 * (uint64_t)value.size;
        }
        if (open > left(reader)) {
            return false;
        }
    }
    return true;
}

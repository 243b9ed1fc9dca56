/* A reader of msgpack: one value at a time, never past the end, without recursion or memory of its own. */
#ifndef DEEPLOG_MSGPACK_H
#define DEEPLOG_MSGPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum msgpack_type {
    MSGPACK_NIL,
    MSGPACK_BOOL,
    MSGPACK_UINT,
    MSGPACK_INT, /* below 0 */
    MSGPACK_FLOAT,
    MSGPACK_STR,
    MSGPACK_BIN,
    MSGPACK_EXT,
    MSGPACK_ARRAY,
    MSGPACK_MAP,
};

struct msgpack_value {
    enum msgpack_type type;
    union {
        bool boolean;
        uint64_t natural;
        int64_t integer;
        double real;
    };
    const uint8_t *bytes; /* of a text, bytes or an extension */
    uint32_t size;        /* of those in bytes; elements of an array; pairs of a map */
    int8_t extension;
};

struct msgpack_reader {
    const uint8_t *at;
    const uint8_t *end;
};

/* Read the next value; of an array or a map its head only. False: what is there is no msgpack, or is cut off. */
bool msgpack_read(struct msgpack_reader *reader, struct msgpack_value *value);

/* Pass over the next value with all that is in it. */
bool msgpack_skip(struct msgpack_reader *reader);

#endif

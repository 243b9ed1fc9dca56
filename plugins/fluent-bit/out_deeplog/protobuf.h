/* What the wire format of Protocol Buffers needs here: fields that are written, and fields that are read. */
#ifndef DEEPLOG_PROTOBUF_H
#define DEEPLOG_PROTOBUF_H

#include "buffer.h"

void protobuf_add_varint(struct buffer *buffer, uint64_t number);
void protobuf_add_uint(struct buffer *buffer, unsigned field, uint64_t number);
void protobuf_add_fixed64(struct buffer *buffer, unsigned field, uint64_t number);
/* A text, bytes, or a message that is written already. */
void protobuf_add_bytes(struct buffer *buffer, unsigned field, const void *bytes, size_t size);
/* An entry of map<string, string>. */
void protobuf_add_pair(struct buffer *buffer, unsigned field, const void *key, size_t key_size, const void *value,
                       size_t value_size);
/* Bytes that a varint takes. */
size_t protobuf_varint_size(uint64_t number);

struct protobuf_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool broken; /* what is there is no message */
};

struct protobuf_field {
    unsigned number;
    unsigned wire;        /* 0 varint, 1 eight bytes, 2 bytes, 5 four bytes */
    uint64_t value;       /* of all but bytes */
    const uint8_t *bytes; /* of bytes */
    size_t size;
};

/* Read the next field. False at the end, and where the message is broken. */
bool protobuf_next(struct protobuf_reader *reader, struct protobuf_field *field);
/* A reader of the message in a field. */
struct protobuf_reader protobuf_inside(const struct protobuf_field *field);

#endif

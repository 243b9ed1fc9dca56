/* Values of msgpack as JSON. */
#ifndef DEEPLOG_JSON_H
#define DEEPLOG_JSON_H

#include "buffer.h"
#include "msgpack.h"

/* Read the next value and write it. What is nested deeper than 32 becomes null. False: no msgpack. */
bool json_add(struct buffer *buffer, struct msgpack_reader *reader);

/* A number or a truth value as text; nothing for all else. */
void json_add_scalar(struct buffer *buffer, const struct msgpack_value *value);

#endif

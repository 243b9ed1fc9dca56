/* Delivers chunks, one after the other, in a thread of its own, which also keeps the stream alive between them. */
#ifndef DEEPLOG_DELIVERY_H
#define DEEPLOG_DELIVERY_H

#include "config.h"
#include "log.h"

/* What Fluent Bit is answered. */
enum verdict { CHUNK_DROPPED = 0, CHUNK_DELIVERED = 1, CHUNK_RETRY = 2 };

struct delivery;

/* NULL: `error` says why. Both are used until the delivery is closed. */
struct delivery *delivery_open(const struct config *config, struct log *log, char *error, size_t room);
void delivery_close(struct delivery *delivery);

/* Deliver a chunk and wait until all of it is answered, or until `timeout` passed without an answer. Needs little
 * stack. */
enum verdict delivery_send(struct delivery *delivery, const void *data, size_t size, const char *tag);

#endif

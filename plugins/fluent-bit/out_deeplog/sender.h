/* Sends chunks as batches over one stream, in order, and says what became of them. Knows no threads: all of it is used
 * by one. */
#ifndef DEEPLOG_SENDER_H
#define DEEPLOG_SENDER_H

#include "chunks.h"
#include "config.h"
#include "delivery.h"
#include "entry.h"
#include "log.h"
#include "stream.h"

#include <stdatomic.h>

enum { CLIENT_BYTES = 16 };

struct piece { /* what Fluent Bit hands over */
    const void *data;
    size_t size;
    const char *tag;
};

struct sender {
    const struct config *config;
    struct log *log;
    int wake;              /* readable = something is to be done */
    atomic_bool *stopping; /* give up */
    struct tls_context *tls;
    struct stream stream;
    struct chunks chunks;
    struct chunk *chunk; /* under way */
    struct entry_writer writer;
    struct buffer entry;
    struct buffer entries;
    char client[2 * CLIENT_BYTES + 1];
    uint64_t last_sequence;
    bool is_ready; /* the server took the configuration; it holds the three below */
    uint64_t max_outstanding;
    uint64_t max_entries;
    uint64_t max_bytes;
    uint64_t outstanding;
    uint64_t progress; /* answers so far */
    unsigned failures; /* attempts to connect since the last stream */
    int64_t connect_at_ms;
};

/* Give `config`, `log`, `wake` and `stopping` before. False: `error` says why; close it all the same. */
bool sender_open(struct sender *sender, char *error, size_t room);
void sender_close(struct sender *sender);

/* Deliver a chunk, or give up when `timeout` has passed without an answer. */
enum verdict sender_deliver(struct sender *sender, const struct piece *piece);

/* No chunk is there, until `wake` is readable: answer pings, take late ends, notice that the server goes. */
void sender_idle(struct sender *sender);

/* Read all bytes of a pipe that does not block. */
void wake_drain(int wake);

#endif

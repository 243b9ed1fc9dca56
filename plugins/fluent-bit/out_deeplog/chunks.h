/* What is known of chunks whose delivery began and is not over. Fluent Bit brings a chunk again without a name: it is
 * known by its content, and its batches keep the numbers under which the server may have seen them. */
#ifndef DEEPLOG_CHUNKS_H
#define DEEPLOG_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_CHUNKS = 1024 }; /* beyond it the one that was not seen for the longest time is forgotten */

enum batch_state {
    BATCH_UNSENT,
    BATCH_SENT,    /* and not answered */
    BATCH_LATER,   /* the server asked to send it again */
    BATCH_DONE,
    BATCH_REFUSED, /* the server will never take it */
};

struct batch {
    size_t from; /* bytes of the chunk */
    size_t to;
    uint64_t sequence;
    enum batch_state state;
    bool was_sent;
};

struct chunk {
    uint64_t hash;
    size_t size;
    struct batch *batches;
    size_t count;
    size_t room;
    size_t cut;        /* bytes of the chunk that are in batches or passed over */
    size_t first_open; /* all batches before it are done or refused */
    bool is_broken;    /* from `cut` on the chunk was no list of events */
    uint64_t max_entries; /* of a batch, when they were cut; 0 = none was */
    uint64_t max_bytes;
    uint64_t seen; /* when, in takes */
};

struct chunks {
    uint64_t key[2]; /* random: nobody can make chunks that are taken for each other */
    struct chunk *known[MAX_CHUNKS];
    size_t count;
    uint64_t takes;
};

/* The chunk with this content, as it was left, or a new one. NULL: no memory is left. */
struct chunk *chunks_take(struct chunks *chunks, const void *data, size_t size, const char *tag);
/* Add the batch that is cut off next. NULL: no memory is left. */
struct batch *chunk_add(struct chunk *chunk, size_t to, uint64_t sequence);
/* Whether the server may have seen any of it. */
bool chunk_was_sent(const struct chunk *chunk);
void chunks_forget(struct chunks *chunks, struct chunk *chunk);
void chunks_free(struct chunks *chunks);

/* SipHash-2-4. */
uint64_t keyed_hash(const uint64_t key[2], const void *data, size_t size);

#endif

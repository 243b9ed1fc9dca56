#include "chunks.h"

#include <stdlib.h>
#include <string.h>

static uint64_t rotated(uint64_t word, unsigned bits) {
    return word << bits | word >> (64 - bits);
}

static void mix(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotated(v[1], 13) ^ v[0];
    v[0] = rotated(v[0], 32);
    v[2] += v[3];
    v[3] = rotated(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotated(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotated(v[1], 17) ^ v[2];
    v[2] = rotated(v[2], 32);
}

static void take_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    mix(v);
    mix(v);
    v[0] ^= word;
}

uint64_t keyed_hash(const uint64_t key[2], const void *data, size_t size) {
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575U, key[1] ^ 0x646f72616e646f6dU, key[0] ^ 0x6c7967656e657261U,
                     key[1] ^ 0x7465646279746573U};
    const uint8_t *bytes = data;
    size_t whole = size - size % 8;
    for (size_t at = 0; at < whole; at += 8) {
        uint64_t word = 0;
        for (unsigned i = 0; i < 8; i++) {
            word |= (uint64_t)bytes[at + i] << 8 * i;
        }
        take_word(v, word);
    }
    uint64_t last = (uint64_t)size << 56;
    for (size_t i = whole; i < size; i++) {
        last |= (uint64_t)bytes[i] << 8 * (i - whole);
    }
    take_word(v, last);
    v[2] ^= 0xff;
    for (unsigned i = 0; i < 4; i++) {
        mix(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void free_chunk(struct chunk *chunk) {
    free(chunk->batches);
    free(chunk);
}

static void forget_oldest(struct chunks *chunks) {
    struct chunk *oldest = chunks->known[0];
    for (size_t i = 1; i < chunks->count; i++) {
        if (chunks->known[i]->seen < oldest->seen) {
            oldest = chunks->known[i];
        }
    }
    chunks_forget(chunks, oldest);
}

struct chunk *chunks_take(struct chunks *chunks, const void *data, size_t size, const char *tag) {
    uint64_t parts[2] = {keyed_hash(chunks->key, data, size), keyed_hash(chunks->key, tag, strlen(tag))};
    uint64_t hash = keyed_hash(chunks->key, parts, sizeof parts);
    chunks->takes += 1;
    for (size_t i = 0; i < chunks->count; i++) {
        struct chunk *known = chunks->known[i];
        if (known->hash == hash && known->size == size) {
            known->seen = chunks->takes;
            return known;
        }
    }
    struct chunk *chunk = calloc(1, sizeof *chunk);
    if (chunk == NULL) {
        return NULL;
    }
    if (chunks->count == MAX_CHUNKS) {
        forget_oldest(chunks);
    }
    *chunk = (struct chunk){.hash = hash, .size = size, .seen = chunks->takes};
    chunks->known[chunks->count++] = chunk;
    return chunk;
}

struct batch *chunk_add(struct chunk *chunk, size_t to, uint64_t sequence) {
    if (chunk->count == chunk->room) {
        size_t room = chunk->room ? 2 * chunk->room : 8;
        struct batch *batches = realloc(chunk->batches, room * sizeof *batches);
        if (batches == NULL) {
            return NULL;
        }
        chunk->batches = batches;
        chunk->room = room;
    }
    struct batch *batch = &chunk->batches[chunk->count++];
    *batch = (struct batch){.from = chunk->cut, .to = to, .sequence = sequence, .state = BATCH_UNSENT};
    chunk->cut = to;
    return batch;
}

bool chunk_was_sent(const struct chunk *chunk) {
    for (size_t i = 0; i < chunk->count; i++) {
        if (chunk->batches[i].was_sent) {
            return true;
        }
    }
    return false;
}

void chunks_forget(struct chunks *chunks, struct chunk *chunk) {
    for (size_t i = 0; i < chunks->count; i++) {
        if (chunks->known[i] == chunk) {
            chunks->known[i] = chunks->known[--chunks->count];
            free_chunk(chunk);
            return;
        }
    }
}

void chunks_free(struct chunks *chunks) {
    while (chunks->count > 0) {
        free_chunk(chunks->known[--chunks->count]);
    }
}

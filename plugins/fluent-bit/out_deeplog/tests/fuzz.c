/* Feeds changed copies of a chunk to the readers: fuzz CHUNK COUNT. To be built with -fsanitize=address,undefined; each
 * copy has memory of exactly its size, so that one byte too far is seen. */
#include "../entry.h"
#include "../messages.h"
#include "../protobuf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 0x9e3779b97f4a7c15U;

static uint64_t draw(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return below ? state % below : 0;
}

static size_t change(uint8_t *bytes, size_t size) {
    static const uint8_t heads[] = {0xc0, 0xc1, 0xc6, 0xc7, 0xc9, 0xcb, 0xcf, 0xd3, 0xd7, 0xdb, 0xdd, 0xdf, 0xff, 0x91};
    for (uint64_t left = 1 + draw(4); left > 0; left--) {
        uint8_t *at = bytes + draw(size);
        *at = draw(2) ? heads[draw(sizeof heads)] : (uint8_t)draw(256);
    }
    return draw(4) ? size : draw(size + 1);
}

/* Number of entries that could be read; what was written has to be a message. */
static unsigned read_chunk(struct entry_writer *writer, const uint8_t *bytes, size_t size) {
    struct msgpack_reader reader = {.at = bytes, .end = bytes + size};
    struct buffer entry = {0};
    unsigned count = 0;
    while (reader.at < reader.end) {
        buffer_clear(&entry);
        enum entry_result result = entry_write(writer, &reader, &entry);
        if (result == ENTRY_BROKEN) {
            break;
        }
        struct protobuf_reader written = {.at = entry.bytes, .end = entry.bytes + entry.size};
        struct protobuf_field field;
        while (entry.size > 0 && protobuf_next(&written, &field)) {
        }
        if (entry.size > 0 && written.broken) {
            abort();
        }
        count += result == ENTRY_WRITTEN;
    }
    buffer_free(&entry);
    return count;
}

int main(int count, char **arguments) {
    static uint8_t seed[1 << 20];
    FILE *file = count == 3 ? fopen(arguments[1], "rb") : NULL;
    size_t size = file != NULL ? fread(seed, 1, sizeof seed, file) : 0;
    struct entry_writer writer = {.tag = "fuzz"};
    if (size == 0 || !entry_writer_open(&writer)) {
        return 2;
    }
    unsigned long entries = read_chunk(&writer, seed, size);
    printf("%lu\n", entries);
    for (long left = atol(arguments[2]); left > 0; left--) {
        uint8_t *copy = malloc(size);
        memcpy(copy, seed, size);
        size_t kept = change(copy, size);
        uint8_t *exact = malloc(kept);
        memcpy(exact, copy, kept);
        entries += read_chunk(&writer, exact, kept);
        struct answer answer;
        message_read(&answer, exact, kept, NULL);
        free(exact);
        free(copy);
    }
    entry_writer_close(&writer);
    fclose(file);
    printf("%lu\n", entries);
    return 0;
}

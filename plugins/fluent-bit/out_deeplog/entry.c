#include "entry.h"

#include "json.h"
#include "protobuf.h"

#include <stdlib.h>
#include <string.h>

/* Fields of deeplog_grpc.v1.LogEntry. */
enum { TIME = 2, BODY = 5, ATTRIBUTES = 6, SOURCE = 7 };

/* Where the text is looked for, in this order; the server's own receivers look for the same. */
static const char *const body_keys[] = {"body", "message", "msg", "log", "MESSAGE"};
enum { BODY_KEYS = sizeof body_keys / sizeof *body_keys };

bool entry_writer_open(struct entry_writer *writer) {
    writer->name = malloc(ENTRY_MAX_NAME_BYTES);
    return writer->name != NULL;
}

void entry_writer_close(struct entry_writer *writer) {
    free(writer->name);
    writer->name = NULL;
    buffer_free(&writer->text);
}

static bool is_text(const struct msgpack_value *value) {
    return value->type == MSGPACK_STR || value->type == MSGPACK_BIN;
}

static bool is_key(const struct msgpack_value *value, const char *key) {
    return is_text(value) && value->size == strlen(key) && memcmp(value->bytes, key, value->size) == 0;
}

static uint64_t nanoseconds(double seconds) {
    return seconds > 0 && seconds < 9.2e9 ? (uint64_t)(seconds * 1e9) : 0;
}

/* Seconds of 2^32 - 1 and 2^32 - 2 are no times: they mark where a group of records begins and ends. */
static bool time_of(const struct msgpack_value *value, uint64_t *time_ns, bool *is_mark) {
    uint32_t seconds = 0;
    uint32_t fraction = 0;
    switch (value->type) {
    case MSGPACK_UINT:
        *time_ns = value->natural < 9200000000U ? value->natural * 1000000000U : 0;
        return true;
    case MSGPACK_INT:
        *is_mark = value->integer == -1 || value->integer == -2;
        return true;
    case MSGPACK_FLOAT:
        *time_ns = nanoseconds(value->real);
        return true;
    case MSGPACK_EXT:
        if (value->extension != 0 || value->size != 8) {
            return false;
        }
        for (unsigned i = 0; i < 4; i++) {
            seconds = seconds << 8 | value->bytes[i];
            fraction = fraction << 8 | value->bytes[4 + i];
        }
        *is_mark = seconds >= 0xfffffffeU;
        *time_ns = (uint64_t)seconds * 1000000000U + fraction;
        return true;
    default:
        return false;
    }
}

static bool read_time(struct msgpack_reader *reader, uint64_t *time_ns, bool *is_mark) {
    struct msgpack_value value;
    if (!msgpack_read(reader, &value)) {
        return false;
    }
    if (value.type != MSGPACK_ARRAY) {
        return time_of(&value, time_ns, is_mark);
    }
    uint32_t size = value.size;
    if (size == 0 || !msgpack_read(reader, &value) || !time_of(&value, time_ns, is_mark)) {
        return false;
    }
    for (uint32_t i = 1; i < size; i++) {
        if (!msgpack_skip(reader)) {
            return false;
        }
    }
    return true;
}

/* How much a key is wanted for the body: 0 = most, BODY_KEYS + 1 = not at all. */
static unsigned rank_of(const struct entry_writer *writer, const struct msgpack_value *key) {
    if (writer->log_key != NULL && is_key(key, writer->log_key)) {
        return 0;
    }
    unsigned rank = 0;
    while (rank < BODY_KEYS && !is_key(key, body_keys[rank])) {
        rank++;
    }
    return rank + 1;
}

/* Find the pair with the body; its index, or the number of pairs if there is none. */
static bool find_body(const struct entry_writer *writer, struct msgpack_reader reader, uint32_t pairs, uint32_t *index,
                      struct msgpack_value *body) {
    unsigned best = BODY_KEYS + 1;
    *index = pairs;
    for (uint32_t i = 0; i < pairs && best > 0; i++) {
        struct msgpack_reader at_key = reader;
        struct msgpack_value key;
        struct msgpack_value value;
        if (!msgpack_skip(&reader) || !msgpack_read(&at_key, &key)) {
            return false;
        }
        struct msgpack_reader at_value = reader;
        if (!msgpack_skip(&reader) || !msgpack_read(&at_value, &value)) {
            return false;
        }
        unsigned rank = rank_of(writer, &key);
        if (rank < best && is_text(&value) && value.size > 0) {
            best = rank;
            *index = i;
            *body = value;
        }
    }
    return true;
}

static void add_attribute(struct entry_writer *writer, struct buffer *entry, size_t name_size, const void *value,
                          size_t size) {
    if (writer->attributes < ENTRY_MAX_ATTRIBUTES && name_size > 0) {
        writer->attributes += 1;
        size_t kept = size < ENTRY_MAX_ATTRIBUTE_BYTES ? size : ENTRY_MAX_ATTRIBUTE_BYTES;
        protobuf_add_pair(entry, ATTRIBUTES, writer->name, name_size, value, kept);
    }
}

/* Put a key behind a prefix in the writer's room for names. The size of both, 0 if they are too long or no text. */
static size_t name_of(struct entry_writer *writer, size_t prefix, const struct msgpack_value *key) {
    size_t dot = prefix > 0 ? 1 : 0;
    if (!is_text(key) || prefix + dot + key->size > ENTRY_MAX_NAME_BYTES) {
        return 0;
    }
    if (dot > 0) {
        writer->name[prefix] = '.';
    }
    memcpy(writer->name + prefix + dot, key->bytes, key->size);
    return prefix + dot + key->size;
}

static bool is_name(const struct entry_writer *writer, size_t size, const char *wanted) {
    return size == strlen(wanted) && memcmp(writer->name, wanted, size) == 0;
}

static void note_pod(struct entry_writer *writer, size_t name, const struct msgpack_value *value) {
    if (is_name(writer, name, "kubernetes.pod_name")) {
        writer->pod = *value;
    }
    else if (is_name(writer, name, "kubernetes.container_name")) {
        writer->container = *value;
    }
}

/* Many pods write on one node: each is a source of its own, named as the server names it on other ways in. */
static void add_source(struct entry_writer *writer, struct buffer *entry) {
    if (!writer->names_pods || writer->pod.size == 0) {
        return;
    }
    buffer_clear(&writer->text);
    buffer_add(&writer->text, writer->pod.bytes, writer->pod.size);
    if (writer->container.size > 0) {
        buffer_add_byte(&writer->text, '/');
        buffer_add(&writer->text, writer->container.bytes, writer->container.size);
    }
    protobuf_add_bytes(entry, SOURCE, writer->text.bytes, writer->text.size);
    entry->failed = entry->failed || writer->text.failed;
}

static bool add_pairs(struct entry_writer *writer, struct msgpack_reader *reader, struct buffer *entry, uint32_t pairs,
                      uint32_t body, size_t prefix, unsigned depth);

static bool add_value(struct entry_writer *writer, struct msgpack_reader *reader, struct buffer *entry, size_t name,
                      unsigned depth) {
    struct msgpack_reader whole = *reader;
    struct msgpack_value value;
    if (!msgpack_read(reader, &value)) {
        return false;
    }
    if (is_text(&value)) {
        add_attribute(writer, entry, name, value.bytes, value.size);
        note_pod(writer, name, &value);
        return true;
    }
    if (value.type == MSGPACK_NIL || value.type == MSGPACK_EXT) {
        return true;
    }
    if (value.type == MSGPACK_MAP && depth < ENTRY_MAX_DEPTH) {
        return add_pairs(writer, reader, entry, value.size, value.size, name, depth + 1);
    }
    buffer_clear(&writer->text);
    *reader = whole;
    bool ok = json_add(&writer->text, reader);
    add_attribute(writer, entry, name, writer->text.bytes, writer->text.size);
    entry->failed = entry->failed || writer->text.failed;
    return ok;
}

/* All pairs of a map but that with the body. */
static bool add_pairs(struct entry_writer *writer, struct msgpack_reader *reader, struct buffer *entry, uint32_t pairs,
                      uint32_t body, size_t prefix, unsigned depth) {
    for (uint32_t i = 0; i < pairs; i++) {
        struct msgpack_reader at_key = *reader;
        struct msgpack_value key;
        if (!msgpack_skip(reader) || !msgpack_read(&at_key, &key)) {
            return false;
        }
        size_t name = name_of(writer, prefix, &key);
        bool is_wanted = i != body && name > 0 && writer->attributes < ENTRY_MAX_ATTRIBUTES;
        if (!(is_wanted ? add_value(writer, reader, entry, name, depth) : msgpack_skip(reader))) {
            return false;
        }
    }
    return true;
}

static bool add_record(struct entry_writer *writer, struct msgpack_reader *reader, struct buffer *entry) {
    struct msgpack_reader whole = *reader;
    struct msgpack_value record;
    struct msgpack_value body = {.type = MSGPACK_NIL};
    uint32_t index;
    if (!msgpack_read(reader, &record) || record.type != MSGPACK_MAP ||
        !find_body(writer, *reader, record.size, &index, &body)) {
        return false;
    }
    if (index < record.size) {
        protobuf_add_bytes(entry, BODY, body.bytes, body.size);
    }
    else {
        buffer_clear(&writer->text);
        if (!json_add(&writer->text, &whole)) {
            return false;
        }
        protobuf_add_bytes(entry, BODY, writer->text.bytes, writer->text.size);
        entry->failed = entry->failed || writer->text.failed;
    }
    writer->attributes = 0;
    writer->pod = writer->container = (struct msgpack_value){.type = MSGPACK_NIL};
    memcpy(writer->name, "tag", 3);
    add_attribute(writer, entry, 3, writer->tag, strlen(writer->tag));
    if (!add_pairs(writer, reader, entry, record.size, index, 0, 0)) {
        return false;
    }
    add_source(writer, entry);
    return true;
}

enum entry_result entry_write(struct entry_writer *writer, struct msgpack_reader *reader, struct buffer *entry) {
    struct msgpack_value event;
    uint64_t time_ns = 0;
    bool is_mark = false;
    if (!msgpack_read(reader, &event) || event.type != MSGPACK_ARRAY || event.size != 2 ||
        !read_time(reader, &time_ns, &is_mark)) {
        return ENTRY_BROKEN;
    }
    if (is_mark) {
        return msgpack_skip(reader) ? ENTRY_PASSED_OVER : ENTRY_BROKEN;
    }
    if (time_ns > 0 && !writer->time_in_body) {
        protobuf_add_fixed64(entry, TIME, time_ns);
    }
    return add_record(writer, reader, entry) ? ENTRY_WRITTEN : ENTRY_BROKEN;
}

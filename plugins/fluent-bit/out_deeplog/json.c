#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_DEPTH = 32 };

static void add_real(struct buffer *buffer, double real) {
    char text[32];
    if (!isfinite(real)) {
        buffer_add_text(buffer, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, real);
        if (strtod(text, NULL) == real) {
            break;
        }
    }
    buffer_add_text(buffer, text);
}

void json_add_scalar(struct buffer *buffer, const struct msgpack_value *value) {
    char text[24];
    switch (value->type) {
    case MSGPACK_BOOL:
        buffer_add_text(buffer, value->boolean ? "true" : "false");
        break;
    case MSGPACK_UINT:
        snprintf(text, sizeof text, "%" PRIu64, value->natural);
        buffer_add_text(buffer, text);
        break;
    case MSGPACK_INT:
        snprintf(text, sizeof text, "%" PRId64, value->integer);
        buffer_add_text(buffer, text);
        break;
    case MSGPACK_FLOAT:
        add_real(buffer, value->real);
        break;
    default:
        break;
    }
}

static void add_text(struct buffer *buffer, const uint8_t *bytes, size_t size) {
    static const char hexadecimal[] = "0123456789abcdef";
    buffer_add_byte(buffer, '"');
    size_t from = 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = bytes[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\') {
            continue;
        }
        buffer_add(buffer, bytes + from, i - from);
        from = i + 1;
        if (byte >= 0x20) {
            char escaped[2] = {'\\', (char)byte};
            buffer_add(buffer, escaped, sizeof escaped);
        }
        else {
            char escaped[6] = {'\\', 'u', '0', '0', hexadecimal[byte >> 4], hexadecimal[byte & 15]};
            buffer_add(buffer, escaped, sizeof escaped);
        }
    }
    buffer_add(buffer, bytes + from, size - from);
    buffer_add_byte(buffer, '"');
}

static bool add_value(struct buffer *buffer, struct msgpack_reader *reader, unsigned depth);

/* A key is a text in JSON, whatever it was. */
static bool add_key(struct buffer *buffer, struct msgpack_reader *reader, unsigned depth) {
    const uint8_t *at = reader->at;
    struct msgpack_value key;
    if (!msgpack_read(reader, &key)) {
        return false;
    }
    if (key.type == MSGPACK_STR || key.type == MSGPACK_BIN) {
        add_text(buffer, key.bytes, key.size);
        return true;
    }
    reader->at = at;
    struct buffer text = {0};
    bool ok = add_value(&text, reader, depth);
    add_text(buffer, text.bytes, text.size);
    buffer->failed = buffer->failed || text.failed;
    buffer_free(&text);
    return ok;
}

static bool add_container(struct buffer *buffer, struct msgpack_reader *reader, const struct msgpack_value *value,
                          unsigned depth) {
    bool is_map = value->type == MSGPACK_MAP;
    buffer_add_byte(buffer, is_map ? '{' : '[');
    for (uint32_t i = 0; i < value->size; i++) {
        if (i > 0) {
            buffer_add_byte(buffer, ',');
        }
        if (is_map) {
            if (!add_key(buffer, reader, depth + 1)) {
                return false;
            }
            buffer_add_byte(buffer, ':');
        }
        if (!add_value(buffer, reader, depth + 1)) {
            return false;
        }
    }
    buffer_add_byte(buffer, is_map ? '}' : ']');
    return true;
}

static bool add_value(struct buffer *buffer, struct msgpack_reader *reader, unsigned depth) {
    if (depth > MAX_DEPTH) {
        buffer_add_text(buffer, "null");
        return msgpack_skip(reader);
    }
    struct msgpack_value value;
    if (!msgpack_read(reader, &value)) {
        return false;
    }
    switch (value.type) {
    case MSGPACK_ARRAY:
    case MSGPACK_MAP:
        return add_container(buffer, reader, &value, depth);
    case MSGPACK_STR:
    case MSGPACK_BIN:
        add_text(buffer, value.bytes, value.size);
        return true;
    case MSGPACK_NIL:
    case MSGPACK_EXT:
        buffer_add_text(buffer, "null");
        return true;
    default:
        json_add_scalar(buffer, &value);
        return true;
    }
}

bool json_add(struct buffer *buffer, struct msgpack_reader *reader) {
    return add_value(buffer, reader, 0);
}

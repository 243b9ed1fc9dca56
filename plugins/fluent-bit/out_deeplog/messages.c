#include "messages.h"

#include "protobuf.h"

#include <string.h>

/* Fields of StreamScoreRequest and StreamScoreResponse, and of what is in them. */
enum { REQUEST_CONFIG = 1, REQUEST_BATCH = 2 };
enum { CONFIG_OPTIONS = 1, CONFIG_CLIENT = 2 };
enum { OPTION_SELECTION = 1, OPTION_APPLICATION = 3, OPTION_SOURCE = 4, OPTION_RAW_BODIES = 5, SELECTION_ANOMALIES = 2 };
enum { BATCH_SEQUENCE = 1, BATCH_ENTRIES = 2 };
enum { RESPONSE_READY = 1, RESPONSE_RESULT = 2, RESPONSE_LATE = 3 };
enum { READY_OUTSTANDING = 1, READY_ENTRIES = 2, READY_BYTES = 3 };
enum { RESULT_SEQUENCE = 1, RESULT_STATUS = 2, RESULT_RESPONSE = 3 };
enum { STATUS_CODE = 1, STATUS_MESSAGE = 2 };
enum { SCORE_VERDICTS = 1, SCORE_ENDS = 2, SCORE_ERRORS = 3 };
enum { VERDICT_KIND = 3, VERDICT_SCORE = 7, VERDICT_SESSION = 12, VERDICT_REASON = 14, VERDICT_APPLICATION = 16 };
enum { ERROR_MESSAGE = 5 };
enum { KIND_NORMAL = 1 };

/* Lines about the anomalies of one answer; the others are counted. */
enum { MAX_TOLD = 10 };

/* gRPC: a byte that says "not compressed", four of the size. */
static void add_frame_head(struct buffer *out, size_t size) {
    uint8_t head[5] = {0, (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
    buffer_add(out, head, sizeof head);
}

static void add_text(struct buffer *out, unsigned field, const char *text) {
    if (text != NULL && *text != '\0') {
        protobuf_add_bytes(out, field, text, strlen(text));
    }
}

void message_add_config(struct buffer *out, const char *application, const char *source, const char *client) {
    struct buffer options = {0};
    struct buffer config = {0};
    protobuf_add_uint(&options, OPTION_SELECTION, SELECTION_ANOMALIES);
    add_text(&options, OPTION_APPLICATION, application);
    add_text(&options, OPTION_SOURCE, source);
    protobuf_add_uint(&options, OPTION_RAW_BODIES, 1);
    protobuf_add_bytes(&config, CONFIG_OPTIONS, options.bytes, options.size);
    add_text(&config, CONFIG_CLIENT, client);
    add_frame_head(out, 1 + protobuf_varint_size(config.size) + config.size);
    protobuf_add_bytes(out, REQUEST_CONFIG, config.bytes, config.size);
    out->failed = out->failed || options.failed || config.failed;
    buffer_free(&options);
    buffer_free(&config);
}

void message_add_entry(struct buffer *entries, const struct buffer *entry) {
    protobuf_add_bytes(entries, BATCH_ENTRIES, entry->bytes, entry->size);
    entries->failed = entries->failed || entry->failed;
}

void message_add_batch(struct buffer *out, uint64_t sequence, const struct buffer *entries) {
    size_t size = 1 + protobuf_varint_size(sequence) + entries->size;
    add_frame_head(out, 1 + protobuf_varint_size(size) + size);
    protobuf_add_varint(out, REQUEST_BATCH << 3 | 2);
    protobuf_add_varint(out, size);
    protobuf_add_uint(out, BATCH_SEQUENCE, sequence);
    buffer_add(out, entries->bytes, entries->size);
    out->failed = out->failed || entries->failed;
}

static const char *kind_name(uint64_t kind) {
    static const char *const names[] = {
        "unknown kind",      "normal",        "unseen key",      "execution path",   "incomplete session", "session counts",
        "session length",    "unseen transition", "parameter value", "elapsed time", "new value",
    };
    return names[kind < sizeof names / sizeof *names ? kind : 0];
}

static bool is_within(const struct protobuf_field *field) {
    return field->wire == 2;
}

static bool read_verdict(struct answer *answer, struct protobuf_reader reader, struct log *log) {
    struct protobuf_field field;
    uint64_t kind = 0;
    float score = 0;
    char application[64] = "";
    char session[96] = "";
    char reason[256] = "";
    while (protobuf_next(&reader, &field)) {
        if (field.number == VERDICT_KIND && field.wire == 0) {
            kind = field.value;
        }
        else if (field.number == VERDICT_SCORE && field.wire == 5) {
            uint32_t bits = (uint32_t)field.value;
            memcpy(&score, &bits, sizeof score);
        }
        else if (field.number == VERDICT_APPLICATION && is_within(&field)) {
            log_printable(application, sizeof application, field.bytes, field.size);
        }
        else if (field.number == VERDICT_SESSION && is_within(&field)) {
            log_printable(session, sizeof session, field.bytes, field.size);
        }
        else if (field.number == VERDICT_REASON && is_within(&field)) {
            log_printable(reason, sizeof reason, field.bytes, field.size);
        }
    }
    if (kind != KIND_NORMAL) {
        answer->anomalies += 1;
        if (log != NULL && answer->anomalies <= MAX_TOLD) {
            log_add(log, LOG_WARNING, "anomaly: %s, score %.2f, application '%s', session '%s': %s", kind_name(kind),
                    (double)score, application, session, reason);
        }
    }
    return !reader.broken;
}

static bool read_refusal(struct answer *answer, struct protobuf_reader reader) {
    struct protobuf_field field;
    answer->refused += 1;
    while (protobuf_next(&reader, &field)) {
        if (field.number == ERROR_MESSAGE && is_within(&field) && answer->refused == 1) {
            log_printable(answer->refusal, sizeof answer->refusal, field.bytes, field.size);
        }
    }
    return !reader.broken;
}

static bool read_score(struct answer *answer, struct protobuf_reader reader, struct log *log) {
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        if (!is_within(&field)) {
            continue;
        }
        bool ok = true;
        if (field.number == SCORE_VERDICTS || field.number == SCORE_ENDS) {
            ok = read_verdict(answer, protobuf_inside(&field), log);
        }
        else if (field.number == SCORE_ERRORS) {
            ok = read_refusal(answer, protobuf_inside(&field));
        }
        if (!ok) {
            return false;
        }
    }
    if (log != NULL && answer->anomalies > MAX_TOLD) {
        log_add(log, LOG_WARNING, "%llu further anomalies", (unsigned long long)(answer->anomalies - MAX_TOLD));
    }
    return !reader.broken;
}

static bool read_status(struct answer *answer, struct protobuf_reader reader) {
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        if (field.number == STATUS_CODE && field.wire == 0) {
            answer->code = field.value;
        }
        else if (field.number == STATUS_MESSAGE && is_within(&field)) {
            log_printable(answer->text, sizeof answer->text, field.bytes, field.size);
        }
    }
    return !reader.broken;
}

static bool read_result(struct answer *answer, struct protobuf_reader reader, struct log *log) {
    struct protobuf_field field;
    bool ok = true;
    while (ok && protobuf_next(&reader, &field)) {
        if (field.number == RESULT_SEQUENCE && field.wire == 0) {
            answer->sequence = field.value;
        }
        else if (field.number == RESULT_STATUS && is_within(&field)) {
            ok = read_status(answer, protobuf_inside(&field));
        }
        else if (field.number == RESULT_RESPONSE && is_within(&field)) {
            ok = read_score(answer, protobuf_inside(&field), log);
        }
    }
    return ok && !reader.broken;
}

static bool read_ready(struct answer *answer, struct protobuf_reader reader) {
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        if (field.wire != 0) {
            continue;
        }
        if (field.number == READY_OUTSTANDING) {
            answer->max_outstanding = field.value;
        }
        else if (field.number == READY_ENTRIES) {
            answer->max_entries = field.value;
        }
        else if (field.number == READY_BYTES) {
            answer->max_bytes = field.value;
        }
    }
    return !reader.broken;
}

bool message_read(struct answer *answer, const uint8_t *bytes, size_t size, struct log *anomalies) {
    struct protobuf_reader reader = {.at = bytes, .end = bytes + size};
    struct protobuf_field field;
    *answer = (struct answer){.kind = ANSWER_UNKNOWN};
    bool ok = true;
    while (ok && protobuf_next(&reader, &field)) {
        if (!is_within(&field)) {
            continue;
        }
        if (field.number == RESPONSE_READY) {
            answer->kind = ANSWER_READY;
            ok = read_ready(answer, protobuf_inside(&field));
        }
        else if (field.number == RESPONSE_RESULT) {
            answer->kind = ANSWER_RESULT;
            ok = read_result(answer, protobuf_inside(&field), anomalies);
        }
        else if (field.number == RESPONSE_LATE) {
            answer->kind = ANSWER_LATE;
            ok = read_score(answer, protobuf_inside(&field), anomalies);
        }
    }
    return ok && !reader.broken;
}

/* Messages of deeplog_grpc.v1.DeepLogService/StreamScore. */
#ifndef DEEPLOG_MESSAGES_H
#define DEEPLOG_MESSAGES_H

#include "buffer.h"
#include "log.h"

/* Codes of gRPC that are told apart. */
enum { STATUS_OK = 0, STATUS_INVALID_ARGUMENT = 3, STATUS_UNAVAILABLE = 14 };

/* Bytes that a message takes around its entries, at most. */
enum { BATCH_OVERHEAD = 64 };

/* Add the frame of a `StreamScoreRequest` with a `StreamConfig`: anomalies only. */
void message_add_config(struct buffer *out, const char *application, const char *source, const char *client);

/* Add an entry to a list of entries. */
void message_add_entry(struct buffer *entries, const struct buffer *entry);

/* Add the frame of a `StreamScoreRequest` with an `EntryBatch`. */
void message_add_batch(struct buffer *out, uint64_t sequence, const struct buffer *entries);

struct answer {
    enum { ANSWER_READY, ANSWER_RESULT, ANSWER_LATE, ANSWER_UNKNOWN } kind;
    /* of READY */
    uint64_t max_outstanding;
    uint64_t max_entries;
    uint64_t max_bytes;
    /* of RESULT */
    uint64_t sequence;
    uint64_t code;
    char text[256]; /* of the status */
    /* of RESULT and LATE */
    uint64_t refused;    /* entries that were not judged */
    char refusal[256];   /* why, of the first one */
    uint64_t anomalies;  /* verdicts that are not normal, ends of sessions among them */
};

/* Read a `StreamScoreResponse`, and say its anomalies in the log if there is one. False: it is broken. */
bool message_read(struct answer *answer, const uint8_t *bytes, size_t size, struct log *anomalies);

#endif

#include "sender.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    FIRST_PAUSE_MS = 100, /* between two attempts to connect; doubles */
    LAST_PAUSE_MS = 2000,
    SILENT_FAILURES = 50, /* attempts between two lines in the log */
    LATER_MS = 1000,      /* until a batch that the server could not take is sent again */
    MAX_MESSAGE_BYTES = 4 << 20,
    LEAST_ANSWER_BYTES = 64 << 20,
};

void wake_drain(int wake) {
    char bytes[64];
    while (read(wake, bytes, sizeof bytes) > 0) {
    }
}

static struct batch *batch_of(struct chunk *chunk, uint64_t sequence) {
    for (size_t i = chunk->first_open; i < chunk->count; i++) {
        if (chunk->batches[i].sequence == sequence) {
            return &chunk->batches[i];
        }
    }
    return NULL;
}

/* The server gave an answer that counts. */
static void note_progress(struct sender *sender) {
    sender->progress += 1;
    if (sender->failures > 0) {
        log_add(sender->log, LOG_INFO, "the server answers again, after %u failures", sender->failures);
    }
    sender->failures = 0;
}

static void take_result(struct sender *sender, const struct answer *answer) {
    struct chunk *chunk = sender->chunk;
    struct batch *batch = chunk == NULL ? NULL : batch_of(chunk, answer->sequence);
    if (batch == NULL || batch->state != BATCH_SENT) {
        return;
    }
    sender->outstanding -= 1;
    if (answer->code == STATUS_OK) {
        batch->state = BATCH_DONE;
        note_progress(sender);
    }
    else if (answer->code == STATUS_INVALID_ARGUMENT) {
        batch->state = BATCH_REFUSED;
        note_progress(sender);
        log_add(sender->log, LOG_ERROR, "a batch was refused and is lost: %s", answer->text);
    }
    else {
        batch->state = BATCH_LATER;
        log_add(sender->log, LOG_WARNING, "a batch will be sent again: status %" PRIu64 ", %s", answer->code,
                answer->text);
    }
    if (answer->refused > 0) {
        log_add(sender->log, LOG_ERROR, "%" PRIu64 " entries were refused and are lost, the first one: %s",
                answer->refused, answer->refusal);
    }
    while (chunk->first_open < chunk->count && chunk->batches[chunk->first_open].state >= BATCH_DONE) {
        chunk->first_open += 1;
    }
}

static bool is_sound(const struct answer *ready) {
    return ready->max_outstanding > 0 && ready->max_entries > 0 && ready->max_bytes > BATCH_OVERHEAD;
}

static bool take_message(void *user, const uint8_t *message, size_t size) {
    struct sender *sender = user;
    struct answer answer;
    if (!message_read(&answer, message, size, sender->config->tells_anomalies ? sender->log : NULL)) {
        return false;
    }
    if (answer.kind == ANSWER_READY) {
        if (!is_sound(&answer)) {
            return false;
        }
        uint64_t entries = sender->config->batch_entries;
        sender->is_ready = true;
        sender->max_outstanding = answer.max_outstanding;
        sender->max_entries = answer.max_entries < entries ? answer.max_entries : entries;
        sender->max_bytes = answer.max_bytes < MAX_MESSAGE_BYTES ? answer.max_bytes : MAX_MESSAGE_BYTES;
        if (answer.max_bytes > LEAST_ANSWER_BYTES && answer.max_bytes < UINT32_MAX) {
            sender->stream.max_message_bytes = answer.max_bytes;
        }
    }
    else if (answer.kind == ANSWER_RESULT) {
        take_result(sender, &answer);
    }
    return true;
}

/* The stream is over: say it, and let all that is unanswered be sent again. */
static void lose_stream(struct sender *sender) {
    if (sender->failures % SILENT_FAILURES == 0) {
        log_add(sender->log, LOG_WARNING, "%s:%s: %s", sender->config->host, sender->config->port,
                sender->stream.why);
    }
    int64_t pause_ms = FIRST_PAUSE_MS;
    for (unsigned i = 0; i < sender->failures && pause_ms < LAST_PAUSE_MS; i++) {
        pause_ms *= 2;
    }
    sender->failures += 1;
    sender->connect_at_ms = now_ms() + (pause_ms < LAST_PAUSE_MS ? pause_ms : LAST_PAUSE_MS);
    sender->is_ready = false;
    sender->outstanding = 0;
    stream_close(&sender->stream);
    struct chunk *chunk = sender->chunk;
    for (size_t i = 0; chunk != NULL && i < chunk->count; i++) {
        if (chunk->batches[i].state == BATCH_SENT) {
            chunk->batches[i].state = BATCH_UNSENT;
        }
    }
}

static void pause_until(struct sender *sender, int64_t at_ms) {
    int64_t left = at_ms - now_ms();
    if (left > 0) {
        struct pollfd waited = {.fd = sender->wake, .events = POLLIN};
        poll(&waited, 1, (int)left);
        wake_drain(sender->wake); /* whoever waits for this thread goes on waiting */
    }
}

/* Begin a stream, when its time has come. */
static void connect_again(struct sender *sender, int64_t deadline_ms) {
    const struct config *config = sender->config;
    pause_until(sender, sender->connect_at_ms < deadline_ms ? sender->connect_at_ms : deadline_ms);
    if (now_ms() < sender->connect_at_ms || atomic_load(sender->stopping)) {
        return;
    }
    struct stream *stream = &sender->stream;
    stream->max_message_bytes = LEAST_ANSWER_BYTES;
    if (stream_open(stream, config, sender->tls, deadline_ms)) {
        message_add_config(&stream->out, config->application, config->source, sender->client);
    }
    else {
        lose_stream(sender);
    }
}

/* Write the entries between two places of a chunk, or up to the bounds of a batch, into `entries`. Returns where it
 * ended. */
static size_t write_entries(struct sender *sender, const struct piece *piece, size_t from, size_t to) {
    const uint8_t *data = piece->data;
    struct msgpack_reader reader = {.at = data + from, .end = data + piece->size};
    uint64_t count = 0;
    uint64_t most = sender->max_bytes - BATCH_OVERHEAD;
    bool is_new = to == 0;
    size_t end = from;
    buffer_clear(&sender->entries);
    while (is_new ? count < sender->max_entries && end < piece->size : end < to) {
        buffer_clear(&sender->entry);
        enum entry_result result = entry_write(&sender->writer, &reader, &sender->entry);
        if (result == ENTRY_BROKEN) {
            sender->chunk->is_broken = true;
            return piece->size;
        }
        size_t size = sender->entry.size + 8;
        if (result == ENTRY_WRITTEN && size > most) {
            log_add(sender->log, LOG_ERROR, "an entry of %zu bytes is beyond what the server takes, and is lost",
                    sender->entry.size);
        }
        else if (result == ENTRY_WRITTEN) {
            if (is_new && sender->entries.size + size > most) {
                return end;
            }
            message_add_entry(&sender->entries, &sender->entry);
            count += 1;
        }
        end = (size_t)(reader.at - data);
    }
    return end;
}

static bool send_batch(struct sender *sender, struct batch *batch) {
    message_add_batch(&sender->stream.out, batch->sequence, &sender->entries);
    if (sender->stream.out.failed) {
        return false;
    }
    batch->state = BATCH_SENT;
    batch->was_sent = true;
    sender->outstanding += 1;
    return true;
}

/* The server takes less than when the batches were cut: what is open is cut anew, under new numbers. */
static void fit_bounds(struct sender *sender, struct chunk *chunk) {
    bool is_less = sender->max_entries < chunk->max_entries || sender->max_bytes < chunk->max_bytes;
    if (is_less && chunk->first_open < chunk->count) {
        chunk->cut = chunk->batches[chunk->first_open].from;
        chunk->count = chunk->first_open;
    }
    if (is_less || chunk->max_entries == 0) {
        chunk->max_entries = sender->max_entries;
        chunk->max_bytes = sender->max_bytes;
    }
}

/* Send what may be sent now. False: no memory is left. */
static bool send_batches(struct sender *sender, const struct piece *piece) {
    struct chunk *chunk = sender->chunk;
    fit_bounds(sender, chunk);
    for (size_t i = chunk->first_open; i < chunk->count && sender->outstanding < sender->max_outstanding; i++) {
        struct batch *batch = &chunk->batches[i];
        if (batch->state == BATCH_UNSENT) {
            write_entries(sender, piece, batch->from, batch->to);
            if (!send_batch(sender, batch)) {
                return false;
            }
        }
    }
    while (chunk->cut < piece->size && sender->outstanding < sender->max_outstanding) {
        size_t to = write_entries(sender, piece, chunk->cut, 0);
        if (sender->entries.size == 0) {
            chunk->cut = to;
            continue;
        }
        struct batch *batch = chunk_add(chunk, to, sender->last_sequence + 1);
        if (batch == NULL || !send_batch(sender, batch)) {
            return false;
        }
        sender->last_sequence += 1;
    }
    return true;
}

static bool is_over(const struct chunk *chunk) {
    return chunk->cut == chunk->size && chunk->first_open == chunk->count;
}

/* All that was sent is answered, and something is to be sent again: when its time has come, it may be. */
static void resend_later(struct sender *sender, int64_t *resend_at_ms) {
    struct chunk *chunk = sender->chunk;
    bool is_wanted = false;
    for (size_t i = chunk->first_open; i < chunk->count; i++) {
        is_wanted = is_wanted || chunk->batches[i].state == BATCH_LATER;
    }
    if (!is_wanted || sender->outstanding > 0) {
        return;
    }
    if (*resend_at_ms == 0) {
        *resend_at_ms = now_ms() + LATER_MS;
    }
    if (now_ms() < *resend_at_ms) {
        return;
    }
    *resend_at_ms = 0;
    for (size_t i = chunk->first_open; i < chunk->count; i++) {
        if (chunk->batches[i].state == BATCH_LATER) {
            chunk->batches[i].state = BATCH_UNSENT;
        }
    }
}

static void try_until_timeout(struct sender *sender, const struct piece *piece) {
    int64_t timeout_ms = (int64_t)sender->config->timeout_s * 1000;
    int64_t deadline_ms = now_ms() + timeout_ms;
    int64_t resend_at_ms = 0;
    uint64_t progress = sender->progress;
    while (!is_over(sender->chunk) && !atomic_load(sender->stopping)) {
        int64_t now = now_ms();
        if (now >= deadline_ms) {
            snprintf(sender->stream.why, sizeof sender->stream.why, "no answer within %u s; Fluent Bit tries again",
                     sender->config->timeout_s);
            sender->failures = 0; /* worth a line */
            lose_stream(sender);
            return;
        }
        if (!stream_is_open(&sender->stream)) {
            connect_again(sender, deadline_ms);
            continue;
        }
        bool ok = !sender->is_ready || send_batches(sender, piece);
        int64_t until_ms = resend_at_ms != 0 && resend_at_ms < deadline_ms ? resend_at_ms : deadline_ms;
        int wait_ms = is_over(sender->chunk) || until_ms <= now ? 0 : (int)(until_ms - now);
        if (!ok || !stream_pump(&sender->stream, sender->wake, wait_ms)) {
            lose_stream(sender);
        }
        wake_drain(sender->wake);
        resend_later(sender, &resend_at_ms);
        if (sender->progress != progress) {
            progress = sender->progress;
            deadline_ms = now_ms() + timeout_ms;
        }
    }
}

static enum verdict verdict_on(struct sender *sender) {
    struct chunk *chunk = sender->chunk;
    if (!is_over(chunk)) {
        for (size_t i = 0; i < chunk->count; i++) {
            if (chunk->batches[i].state < BATCH_DONE) {
                chunk->batches[i].state = BATCH_UNSENT;
            }
        }
        if (!chunk_was_sent(chunk)) {
            chunks_forget(&sender->chunks, chunk);
        }
        return CHUNK_RETRY;
    }
    bool is_lost = chunk->is_broken;
    for (size_t i = 0; i < chunk->count; i++) {
        is_lost = is_lost || chunk->batches[i].state == BATCH_REFUSED;
    }
    if (chunk->is_broken) {
        log_add(sender->log, LOG_ERROR, "a chunk could not be read to its end, and the rest of it is lost");
    }
    chunks_forget(&sender->chunks, chunk);
    return is_lost ? CHUNK_DROPPED : CHUNK_DELIVERED;
}

enum verdict sender_deliver(struct sender *sender, const struct piece *piece) {
    sender->chunk = chunks_take(&sender->chunks, piece->data, piece->size, piece->tag);
    if (sender->chunk == NULL) {
        return CHUNK_RETRY;
    }
    sender->writer.tag = piece->tag;
    try_until_timeout(sender, piece);
    enum verdict verdict = verdict_on(sender);
    if (sender->outstanding > 0) {
        lose_stream(sender); /* whatever is still to come belongs to nothing */
    }
    sender->chunk = NULL;
    return verdict;
}

/* No chunk is there: answer pings, take late ends, notice that the server goes. */
void sender_idle(struct sender *sender) {
    if (!stream_is_open(&sender->stream)) {
        struct pollfd waited = {.fd = sender->wake, .events = POLLIN};
        poll(&waited, 1, -1);
    }
    else if (!stream_pump(&sender->stream, sender->wake, -1)) {
        lose_stream(sender);
    }
}

static bool draw_names(struct sender *sender) {
    uint8_t random[CLIENT_BYTES];
    FILE *file = fopen("/dev/urandom", "re");
    bool ok = file != NULL && fread(random, sizeof random, 1, file) == 1 &&
              fread(sender->chunks.key, sizeof sender->chunks.key, 1, file) == 1;
    for (unsigned i = 0; ok && i < sizeof random; i++) {
        snprintf(sender->client + 2 * i, 3, "%02x", random[i]);
    }
    if (file != NULL) {
        fclose(file);
    }
    return ok;
}

bool sender_open(struct sender *sender, char *error, size_t room) {
    snprintf(error, room, "no memory is left, or no randomness");
    sender->stream = (struct stream){.connection = {.socket = -1}, .read = take_message, .user = sender};
    sender->writer.log_key = sender->config->log_key;
    sender->writer.time_in_body = sender->config->time_in_body;
    sender->writer.names_pods = sender->config->names_pods;
    if (!entry_writer_open(&sender->writer) || !draw_names(sender)) {
        return false;
    }
    if (sender->config->use_tls) {
        sender->tls = tls_context_open(sender->config, error, room);
    }
    return sender->tls != NULL || !sender->config->use_tls;
}

void sender_close(struct sender *sender) {
    stream_close(&sender->stream);
    tls_context_close(sender->tls);
    chunks_free(&sender->chunks);
    entry_writer_close(&sender->writer);
    buffer_free(&sender->entry);
    buffer_free(&sender->entries);
}

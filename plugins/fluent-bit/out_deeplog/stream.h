/* One StreamScore call: gRPC over HTTP/2, on a connection of its own. */
#ifndef DEEPLOG_STREAM_H
#define DEEPLOG_STREAM_H

#include "buffer.h"
#include "connection.h"
#include "messages.h"

#include <nghttp2/nghttp2.h>

/* Called with each message of the server; false = it cannot be read, and the call ends. */
typedef bool (*stream_reader)(void *user, const uint8_t *message, size_t size);

struct stream {
    struct connection connection;
    nghttp2_session *session; /* NULL = closed */
    int32_t number;
    bool has_ended;
    char why[512]; /* it ended or did not begin */
    struct buffer out; /* frames of gRPC that are to be sent; fill it, then pump */
    size_t sent;       /* bytes of `out` that are gone */
    const uint8_t *unsent; /* what HTTP/2 wants to write */
    size_t unsent_size;
    struct buffer in; /* a message, as far as it has come */
    size_t max_message_bytes;
    char http_status[8];
    char grpc_status[8];
    char grpc_message[200];
    stream_reader read;
    void *user;
};

/* Connect and send the head of the call; the caller's first message is to be in `out` after that. */
bool stream_open(struct stream *stream, const struct config *config, struct tls_context *context,
                 int64_t deadline_ms);
bool stream_is_open(const struct stream *stream);

/* Write what is to be written, wait at most so long, read what there is. False: the call is over, `why` says it. */
bool stream_pump(struct stream *stream, int wake, int timeout_ms);

void stream_close(struct stream *stream);

#endif

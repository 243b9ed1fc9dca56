#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW_BYTES = 1 << 20, READ_BYTES = 16 * 1024, FRAME_HEAD_BYTES = 5 };

#define PATH "/deeplog_grpc.v1.DeepLogService/StreamScore"

static void end(struct stream *stream, const char *why) {
    if (stream->why[0] == '\0') {
        snprintf(stream->why, sizeof stream->why, "%s", why);
    }
    stream->has_ended = true;
}

static ssize_t give_data(nghttp2_session *session, int32_t number, uint8_t *room, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
    (void)session;
    (void)number;
    (void)flags;
    (void)source;
    struct stream *stream = user;
    size_t left = stream->out.size - stream->sent;
    if (left == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t count = left < size ? left : size;
    memcpy(room, stream->out.bytes + stream->sent, count);
    stream->sent += count;
    if (stream->sent == stream->out.size) {
        buffer_clear(&stream->out);
        stream->sent = 0;
    }
    return (ssize_t)count;
}

/* Give on the messages that are complete. */
static bool take_messages(struct stream *stream) {
    size_t at = 0;
    while (stream->in.size - at >= FRAME_HEAD_BYTES) {
        const uint8_t *head = stream->in.bytes + at;
        size_t size = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
        if (head[0] != 0) {
            end(stream, "the server sent a compressed message, which was not asked for");
            return false;
        }
        if (size > stream->max_message_bytes) {
            end(stream, "the server sent a message beyond the bound");
            return false;
        }
        if (stream->in.size - at - FRAME_HEAD_BYTES < size) {
            break;
        }
        if (!stream->read(stream->user, head + FRAME_HEAD_BYTES, size)) {
            end(stream, "the server sent a message that cannot be read");
            return false;
        }
        at += FRAME_HEAD_BYTES + size;
    }
    buffer_drop(&stream->in, at);
    return true;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t number, const uint8_t *bytes, size_t size,
                   void *user) {
    (void)session;
    (void)flags;
    struct stream *stream = user;
    if (number != stream->number || stream->has_ended) {
        return 0;
    }
    buffer_add(&stream->in, bytes, size);
    if (stream->in.failed) {
        end(stream, "no memory is left for a message of the server");
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return take_messages(stream) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static bool is_named(const uint8_t *name, size_t size, const char *wanted) {
    return size == strlen(wanted) && memcmp(name, wanted, size) == 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *user) {
    (void)session;
    (void)flags;
    struct stream *stream = user;
    if (frame->hd.stream_id != stream->number) {
        return 0;
    }
    if (is_named(name, name_size, ":status")) {
        log_printable(stream->http_status, sizeof stream->http_status, value, value_size);
    }
    else if (is_named(name, name_size, "grpc-status")) {
        log_printable(stream->grpc_status, sizeof stream->grpc_status, value, value_size);
    }
    else if (is_named(name, name_size, "grpc-message")) {
        log_printable(stream->grpc_message, sizeof stream->grpc_message, value, value_size);
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t number, uint32_t code, void *user) {
    (void)session;
    struct stream *stream = user;
    if (number != stream->number) {
        return 0;
    }
    char why[sizeof stream->why];
    if (stream->grpc_status[0] != '\0') {
        snprintf(why, sizeof why, "the server ended the stream: gRPC status %s, %s", stream->grpc_status,
                 stream->grpc_message);
    }
    else if (stream->http_status[0] != '\0' && strcmp(stream->http_status, "200") != 0) {
        snprintf(why, sizeof why, "what answers there is no gRPC server: HTTP status %s", stream->http_status);
    }
    else {
        snprintf(why, sizeof why, "the server broke the stream off: %s", nghttp2_http2_strerror(code));
    }
    end(stream, why);
    return 0;
}

static bool begin_session(struct stream *stream) {
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        return false;
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    int failure = nghttp2_session_client_new(&stream->session, callbacks, stream);
    nghttp2_session_callbacks_del(callbacks);
    if (failure != 0) {
        stream->session = NULL;
        return false;
    }
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
    };
    return nghttp2_submit_settings(stream->session, NGHTTP2_FLAG_NONE, settings, 2) == 0 &&
           nghttp2_session_set_local_window_size(stream->session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES) == 0;
}

static nghttp2_nv header(const char *name, const char *value) {
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
        .flags = NGHTTP2_NV_FLAG_NONE,
    };
}

static bool begin_call(struct stream *stream, const struct config *config, const char *token) {
    const char *host = config->tls_vhost != NULL ? config->tls_vhost : config->host;
    bool is_ipv6 = strchr(host, ':') != NULL;
    size_t room = strlen(host) + (token != NULL ? strlen(token) : 0) + 32;
    char *authority = malloc(room);
    char *authorization = malloc(room);
    bool ok = authority != NULL && authorization != NULL;
    if (ok) {
        snprintf(authority, room, is_ipv6 ? "[%s]:%s" : "%s:%s", host, config->port);
        snprintf(authorization, room, "Bearer %s", token != NULL ? token : "");
        nghttp2_nv headers[] = {
            header(":method", "POST"),
            header(":scheme", config->use_tls ? "https" : "http"),
            header(":path", PATH),
            header(":authority", authority),
            header("te", "trailers"),
            header("content-type", "application/grpc"),
            header("user-agent", "deeplog-fluent-bit"),
            header("authorization", authorization),
        };
        headers[7].flags = NGHTTP2_NV_FLAG_NO_INDEX; /* a secret stays out of the table of headers */
        nghttp2_data_provider data = {.read_callback = give_data};
        stream->number =
            nghttp2_submit_request(stream->session, NULL, headers, token != NULL ? 8 : 7, &data, stream);
        ok = stream->number > 0;
    }
    free(authority);
    free(authorization);
    return ok;
}

bool stream_open(struct stream *stream, const struct config *config, struct tls_context *context,
                 int64_t deadline_ms) {
    stream->has_ended = false;
    stream->why[0] = stream->http_status[0] = stream->grpc_status[0] = stream->grpc_message[0] = '\0';
    stream->sent = stream->unsent_size = 0;
    buffer_clear(&stream->out);
    buffer_clear(&stream->in);
    char *token = config_token(config, stream->why, sizeof stream->why);
    if (stream->why[0] != '\0' ||
        !connection_open(&stream->connection, config, context, deadline_ms, stream->why, sizeof stream->why)) {
        free(token);
        return false;
    }
    stream->why[0] = '\0';
    bool ok = begin_session(stream) && begin_call(stream, config, token);
    free(token);
    if (!ok) {
        end(stream, "no memory is left for a connection");
        stream_close(stream);
    }
    return ok;
}

bool stream_is_open(const struct stream *stream) {
    return stream->session != NULL && !stream->has_ended;
}

/* Write until there is nothing to write, or no room in the socket. */
static bool write_all(struct stream *stream, bool *is_held_up) {
    *is_held_up = false;
    for (;;) {
        if (stream->unsent_size == 0) {
            ssize_t size = nghttp2_session_mem_send(stream->session, &stream->unsent);
            if (size < 0) {
                end(stream, nghttp2_strerror((int)size));
                return false;
            }
            if (size == 0) {
                return true;
            }
            stream->unsent_size = (size_t)size;
        }
        ssize_t count = connection_write(&stream->connection, stream->unsent, stream->unsent_size);
        if (count < 0) {
            end(stream, "the connection broke");
            return false;
        }
        if (count == 0) {
            *is_held_up = true;
            return true;
        }
        stream->unsent += count;
        stream->unsent_size -= (size_t)count;
    }
}

static bool read_all(struct stream *stream) {
    uint8_t room[READ_BYTES];
    for (;;) {
        ssize_t count = connection_read(&stream->connection, room, sizeof room);
        if (count == 0) {
            return true;
        }
        if (count < 0) {
            end(stream, "the connection broke");
            return false;
        }
        ssize_t read = nghttp2_session_mem_recv(stream->session, room, (size_t)count);
        if (read < 0) {
            end(stream, nghttp2_strerror((int)read));
            return false;
        }
        if (stream->has_ended) {
            return false;
        }
    }
}

bool stream_pump(struct stream *stream, int wake, int timeout_ms) {
    bool is_held_up;
    if (stream->out.failed) {
        end(stream, "no memory is left for a batch");
        return false;
    }
    if (stream->out.size > stream->sent) {
        nghttp2_session_resume_data(stream->session, stream->number); /* fails where it was not held: no matter */
    }
    if (!write_all(stream, &is_held_up)) {
        return false;
    }
    connection_wait(&stream->connection, is_held_up, wake, timeout_ms);
    return read_all(stream) && write_all(stream, &is_held_up) && !stream->has_ended;
}

void stream_close(struct stream *stream) {
    bool is_held_up;
    if (stream->session != NULL) {
        if (!stream->has_ended && nghttp2_session_terminate_session(stream->session, NGHTTP2_NO_ERROR) == 0) {
            write_all(stream, &is_held_up);
        }
        nghttp2_session_del(stream->session);
        stream->session = NULL;
    }
    connection_close(&stream->connection);
    buffer_free(&stream->out);
    buffer_free(&stream->in);
    stream->sent = stream->unsent_size = 0;
    stream->has_ended = true;
}

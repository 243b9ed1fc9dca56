/* A TCP connection, with TLS or without. Nothing blocks but `connection_wait`. */
#ifndef DEEPLOG_CONNECTION_H
#define DEEPLOG_CONNECTION_H

#include "config.h"
#include "tls.h"

#include <stdint.h>

struct connection {
    int socket; /* -1 = closed */
    struct tls *tls;
    short wants; /* events of poll() that TLS waits for beside those of the caller */
};

/* Milliseconds of a clock that only goes forward. */
int64_t now_ms(void);

/* Connect before `deadline_ms`. False: `error` says why. */
bool connection_open(struct connection *connection, const struct config *config, struct tls_context *context,
                     int64_t deadline_ms, char *error, size_t room);
void connection_close(struct connection *connection);

/* Read or write up to `size` bytes: how many, 0 = none now, -1 = the connection is over. */
ssize_t connection_read(struct connection *connection, void *bytes, size_t size);
ssize_t connection_write(struct connection *connection, const void *bytes, size_t size);

/* Wait until bytes may be read or, if asked, written, or `wake` is readable, or the time is over. */
void connection_wait(struct connection *connection, bool to_write, int wake, int timeout_ms);

#endif

/* TLS by the OpenSSL that the process or the system has: it is looked up at run time, so that the library needs none
 * to be loaded. */
#ifndef DEEPLOG_TLS_H
#define DEEPLOG_TLS_H

#include "config.h"

#include <sys/types.h>

struct tls_context; /* what connections of an output share */
struct tls;         /* one connection */

/* NULL: there is no OpenSSL, or a file is wrong; `error` says which. */
struct tls_context *tls_context_open(const struct config *config, char *error, size_t room);
void tls_context_close(struct tls_context *context);

/* A connection over a connected socket that does not block. NULL: `error` says why. */
struct tls *tls_open(struct tls_context *context, int socket, const char *name, char *error, size_t room);
void tls_close(struct tls *tls);

/* What an attempt needs before it can go on. */
enum tls_state { TLS_DONE, TLS_WANTS_READ, TLS_WANTS_WRITE, TLS_BROKEN };

/* Go on with the handshake. */
enum tls_state tls_shake_hands(struct tls *tls, char *error, size_t room);
/* Read or write up to `*size` bytes; `*size` becomes how many it were. */
enum tls_state tls_read(struct tls *tls, void *bytes, size_t *size);
enum tls_state tls_write(struct tls *tls, const void *bytes, size_t *size);

#endif

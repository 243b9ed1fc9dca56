/* Properties of an output. Fluent Bit keeps `host`, `port`, `tls` and `tls.*` to itself: no plugin of this kind can read
 * them, and so the names here are others. */
#ifndef DEEPLOG_CONFIG_H
#define DEEPLOG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

struct config {
    char *host;
    char *port;
    char *token;       /* NULL = none */
    char *token_file;  /* read again with each connection; NULL = none */
    char *application; /* NULL = the server's only one */
    char *source;    /* the host's name if none is given */
    bool names_pods; /* none is given: a pod is a source of its own */
    char *log_key; /* NULL = the usual ones */
    bool time_in_body; /* the time stamp at the head of a line counts: Fluent Bit's time is that of reading */
    unsigned timeout_s;
    unsigned batch_entries;
    bool tells_anomalies;
    bool use_tls;
    bool tls_verify;
    char *tls_ca_file; /* NULL = the system's */
    char *tls_crt_file;
    char *tls_key_file;
    char *tls_vhost; /* NULL = the host */
};

/* The value of a property, or NULL. */
typedef const char *(*property)(const char *name, void *output);

/* Read all properties. False: one is wrong, and `error` says which and why. */
bool config_read(struct config *config, property get, void *output, char *error, size_t room);
void config_free(struct config *config);

/* The token to send, from the property or the file: to be freed. NULL: none, or an error that `error` says. */
char *config_token(const struct config *config, char *error, size_t room);

#endif

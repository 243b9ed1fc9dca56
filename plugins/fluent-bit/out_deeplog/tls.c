#include "tls.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of OpenSSL 3, which its ABI keeps. */
enum {
    FILETYPE_PEM = 1,
    VERIFY_NONE = 0,
    VERIFY_PEER = 1,
    CTRL_MODE = 33,
    CTRL_SET_TLSEXT_HOSTNAME = 55,
    CTRL_SET_MIN_PROTO_VERSION = 123,
    TLS_1_2 = 0x0303,
    MODE_PARTIAL_WRITE = 1,
    MODE_MOVING_BUFFER = 2,
    WANTS_READ = 2,
    WANTS_WRITE = 3,
};

/* name, type of the result, types of the arguments */
#define OPENSSL_FUNCTIONS(f)                                          \
    f(TLS_client_method, const void *, (void))                        \
    f(SSL_CTX_new, void *, (const void *))                            \
    f(SSL_CTX_free, void, (void *))                                   \
    f(SSL_CTX_ctrl, long, (void *, int, long, void *))                \
    f(SSL_CTX_set_default_verify_paths, int, (void *))                \
    f(SSL_CTX_load_verify_locations, int, (void *, const char *, const char *)) \
    f(SSL_CTX_use_certificate_chain_file, int, (void *, const char *)) \
    f(SSL_CTX_use_PrivateKey_file, int, (void *, const char *, int))  \
    f(SSL_CTX_check_private_key, int, (const void *))                 \
    f(SSL_CTX_set_verify, void, (void *, int, void *))                \
    f(SSL_CTX_set_alpn_protos, int, (void *, const uint8_t *, unsigned)) \
    f(SSL_new, void *, (void *))                                      \
    f(SSL_free, void, (void *))                                       \
    f(SSL_set_fd, int, (void *, int))                                 \
    f(SSL_ctrl, long, (void *, int, long, void *))                    \
    f(SSL_set1_host, int, (void *, const char *))                     \
    f(SSL_get0_param, void *, (void *))                               \
    f(X509_VERIFY_PARAM_set1_ip_asc, int, (void *, const char *))     \
    f(SSL_connect, int, (void *))                                     \
    f(SSL_read, int, (void *, void *, int))                           \
    f(SSL_write, int, (void *, const void *, int))                    \
    f(SSL_shutdown, int, (void *))                                    \
    f(SSL_get_error, int, (const void *, int))                        \
    f(SSL_get0_alpn_selected, void, (const void *, const uint8_t **, unsigned *)) \
    f(SSL_get_verify_result, long, (const void *))                    \
    f(X509_verify_cert_error_string, const char *, (long))            \
    f(ERR_get_error, unsigned long, (void))                           \
    f(ERR_clear_error, void, (void))                                  \
    f(ERR_error_string_n, void, (unsigned long, char *, size_t))

#define DECLARE(name, result, arguments) result(*name) arguments;
static struct {
    bool is_loaded;
    const char *missing;
    OPENSSL_FUNCTIONS(DECLARE)
} openssl;

struct tls_context {
    void *context;
    bool verify;
};

struct tls {
    void *ssl;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    /* never closed: OpenSSL leaves threads and handlers behind that need it */
    void *library = dlopen("libssl.so.3", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL) {
        openssl.missing = "libssl.so.3";
        return;
    }
    void *symbol;
#define LOOK_UP(name, result, arguments)                  \
    symbol = dlsym(library, #name);                       \
    if (symbol == NULL) {                                 \
        openssl.missing = #name;                          \
        return;                                           \
    }                                                     \
    memcpy(&openssl.name, &symbol, sizeof openssl.name);
    OPENSSL_FUNCTIONS(LOOK_UP)
    openssl.is_loaded = true;
}

static void say(char *error, size_t room, const char *what, const char *name) {
    char reason[160] = "unknown reason";
    unsigned long code = openssl.ERR_get_error();
    if (code != 0) {
        openssl.ERR_error_string_n(code, reason, sizeof reason);
    }
    snprintf(error, room, "%s%s%.150s: %s", what, name != NULL ? " " : "", name != NULL ? name : "", reason);
    openssl.ERR_clear_error();
}

static bool prepare(void *context, const struct config *config, char *error, size_t room) {
    static const uint8_t http2[] = {2, 'h', '2'};
    openssl.ERR_clear_error();
    openssl.SSL_CTX_ctrl(context, CTRL_SET_MIN_PROTO_VERSION, TLS_1_2, NULL);
    openssl.SSL_CTX_ctrl(context, CTRL_MODE, MODE_PARTIAL_WRITE | MODE_MOVING_BUFFER, NULL);
    openssl.SSL_CTX_set_verify(context, config->tls_verify ? VERIFY_PEER : VERIFY_NONE, NULL);
    openssl.SSL_CTX_set_alpn_protos(context, http2, sizeof http2);
    if (config->tls_ca_file == NULL) {
        openssl.SSL_CTX_set_default_verify_paths(context);
    }
    else if (openssl.SSL_CTX_load_verify_locations(context, config->tls_ca_file, NULL) != 1) {
        say(error, room, "tls_ca_file", config->tls_ca_file);
        return false;
    }
    if (config->tls_crt_file == NULL) {
        return true;
    }
    if (openssl.SSL_CTX_use_certificate_chain_file(context, config->tls_crt_file) != 1) {
        say(error, room, "tls_crt_file", config->tls_crt_file);
        return false;
    }
    if (openssl.SSL_CTX_use_PrivateKey_file(context, config->tls_key_file, FILETYPE_PEM) != 1 ||
        openssl.SSL_CTX_check_private_key(context) != 1) {
        say(error, room, "tls_key_file", config->tls_key_file);
        return false;
    }
    return true;
}

struct tls_context *tls_context_open(const struct config *config, char *error, size_t room) {
    pthread_once(&once, load);
    if (!openssl.is_loaded) {
        snprintf(error, room, "use_tls needs OpenSSL 3, and %s was not found", openssl.missing);
        return NULL;
    }
    struct tls_context *shared = calloc(1, sizeof *shared);
    void *context = openssl.SSL_CTX_new(openssl.TLS_client_method());
    if (shared == NULL || context == NULL) {
        snprintf(error, room, "no memory is left for TLS");
        free(shared);
        return NULL;
    }
    shared->context = context;
    shared->verify = config->tls_verify;
    if (!prepare(context, config, error, room)) {
        tls_context_close(shared);
        return NULL;
    }
    return shared;
}

void tls_context_close(struct tls_context *context) {
    if (context != NULL) {
        openssl.SSL_CTX_free(context->context);
        free(context);
    }
}

static bool is_ip(const char *name) {
    uint8_t address[16];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* The name that the certificate has to be for, told to the server as well where it is one. */
static bool expect(void *ssl, const char *name, bool verify) {
    if (is_ip(name)) {
        return !verify || openssl.X509_VERIFY_PARAM_set1_ip_asc(openssl.SSL_get0_param(ssl), name) == 1;
    }
    openssl.SSL_ctrl(ssl, CTRL_SET_TLSEXT_HOSTNAME, 0, (void *)(uintptr_t)name);
    return !verify || openssl.SSL_set1_host(ssl, name) == 1;
}

struct tls *tls_open(struct tls_context *context, int socket, const char *name, char *error, size_t room) {
    struct tls *tls = calloc(1, sizeof *tls);
    void *ssl = openssl.SSL_new(context->context);
    if (tls != NULL && ssl != NULL && openssl.SSL_set_fd(ssl, socket) == 1 && expect(ssl, name, context->verify)) {
        tls->ssl = ssl;
        return tls;
    }
    say(error, room, "TLS with", name);
    if (ssl != NULL) {
        openssl.SSL_free(ssl);
    }
    free(tls);
    return NULL;
}

void tls_close(struct tls *tls) {
    if (tls != NULL) {
        openssl.ERR_clear_error();
        openssl.SSL_shutdown(tls->ssl);
        openssl.ERR_clear_error();
        openssl.SSL_free(tls->ssl);
        free(tls);
    }
}

static enum tls_state state_after(struct tls *tls, int result) {
    switch (openssl.SSL_get_error(tls->ssl, result)) {
    case WANTS_READ:
        return TLS_WANTS_READ;
    case WANTS_WRITE:
        return TLS_WANTS_WRITE;
    default:
        return TLS_BROKEN;
    }
}

enum tls_state tls_shake_hands(struct tls *tls, char *error, size_t room) {
    openssl.ERR_clear_error();
    int result = openssl.SSL_connect(tls->ssl);
    if (result != 1) {
        enum tls_state state = state_after(tls, result);
        long verified = openssl.SSL_get_verify_result(tls->ssl);
        if (state == TLS_BROKEN && verified != 0) {
            snprintf(error, room, "the server's certificate was refused: %s",
                     openssl.X509_verify_cert_error_string(verified));
        }
        else if (state == TLS_BROKEN) {
            say(error, room, "TLS handshake", NULL);
        }
        return state;
    }
    const uint8_t *protocol = NULL;
    unsigned size = 0;
    openssl.SSL_get0_alpn_selected(tls->ssl, &protocol, &size);
    if (size != 2 || memcmp(protocol, "h2", 2) != 0) {
        snprintf(error, room, "the server does not offer HTTP/2 over TLS");
        return TLS_BROKEN;
    }
    return TLS_DONE;
}

static int bounded(size_t size) {
    return size > INT_MAX ? INT_MAX : (int)size;
}

enum tls_state tls_read(struct tls *tls, void *bytes, size_t *size) {
    openssl.ERR_clear_error();
    int count = openssl.SSL_read(tls->ssl, bytes, bounded(*size));
    *size = count > 0 ? (size_t)count : 0;
    return count > 0 ? TLS_DONE : state_after(tls, count);
}

enum tls_state tls_write(struct tls *tls, const void *bytes, size_t *size) {
    openssl.ERR_clear_error();
    int count = openssl.SSL_write(tls->ssl, bytes, bounded(*size));
    *size = count > 0 ? (size_t)count : 0;
    return count > 0 ? TLS_DONE : state_after(tls, count);
}

#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { MAX_TOKEN_BYTES = 16384, MAX_TIMEOUT_S = 3600, MAX_BATCH_ENTRIES = 1000000 };

struct source {
    property get;
    void *output;
    char *error;
    size_t room;
    bool failed;
};

static void fail(struct source *from, const char *name, const char *value, const char *wanted) {
    if (!from->failed) {
        snprintf(from->error, from->room, "%s: '%.100s' is not %s", name, value, wanted);
    }
    from->failed = true;
}

static char *text_of(struct source *from, const char *name) {
    const char *value = from->get(name, from->output);
    if (value == NULL || *value == '\0') {
        return NULL;
    }
    char *copy = strdup(value);
    if (copy == NULL) {
        fail(from, name, value, "in memory: there is none left");
    }
    return copy;
}

static bool is_one_of(const char *value, const char *const *names) {
    while (*names != NULL && strcasecmp(value, *names) != 0) {
        names++;
    }
    return *names != NULL;
}

static bool truth_of(struct source *from, const char *name, bool otherwise) {
    static const char *const yes[] = {"on", "true", "yes", "1", NULL};
    static const char *const no[] = {"off", "false", "no", "0", NULL};
    const char *value = from->get(name, from->output);
    if (value == NULL || *value == '\0') {
        return otherwise;
    }
    bool is_yes = is_one_of(value, yes);
    if (!is_yes && !is_one_of(value, no)) {
        fail(from, name, value, "on or off");
    }
    return is_yes;
}

static unsigned number_of(struct source *from, const char *name, unsigned most, unsigned otherwise) {
    const char *value = from->get(name, from->output);
    if (value == NULL || *value == '\0') {
        return otherwise;
    }
    char *end;
    errno = 0;
    long number = strtol(value, &end, 10);
    if (errno != 0 || *end != '\0' || number < 1 || number > (long)most) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "a whole number from 1 to %u", most);
        fail(from, name, value, wanted);
        return otherwise;
    }
    return (unsigned)number;
}

static bool is_port(const char *text) {
    char *end;
    long port = strtol(text, &end, 10);
    return isdigit((unsigned char)*text) && *end == '\0' && port >= 1 && port <= 65535;
}

/* HOST:PORT or [IPv6]:PORT. */
static void read_address(struct config *config, struct source *from) {
    const char *value = from->get("address", from->output);
    if (value == NULL || *value == '\0') {
        value = "127.0.0.1:50051";
    }
    const char *colon = strrchr(value, ':');
    bool is_bracketed = *value == '[' && colon != NULL && colon > value + 1 && colon[-1] == ']';
    const char *host = is_bracketed ? value + 1 : value;
    size_t size = colon == NULL ? 0 : (size_t)(colon - host) - (is_bracketed ? 1 : 0);
    if (size == 0 || !is_port(colon + 1)) {
        fail(from, "address", value, "HOST:PORT, for example deeplog:50051");
        return;
    }
    config->host = strndup(host, size);
    config->port = strdup(colon + 1);
    if (config->host == NULL || config->port == NULL) {
        fail(from, "address", value, "in memory: there is none left");
    }
}

static void read_source(struct config *config, struct source *from) {
    config->source = text_of(from, "source");
    config->names_pods = config->source == NULL;
    if (config->source == NULL) {
        char name[HOST_NAME_MAX + 1] = "";
        gethostname(name, sizeof name - 1);
        config->source = strdup(name);
    }
}

bool config_read(struct config *config, property get, void *output, char *error, size_t room) {
    struct source from = {.get = get, .output = output, .error = error, .room = room};
    static const char *const none[] = {"none", NULL};
    static const char *const log[] = {"log", NULL};
    static const char *const body[] = {"body", NULL};
    static const char *const record[] = {"record", NULL};
    read_address(config, &from);
    config->token = text_of(&from, "token");
    config->token_file = text_of(&from, "token_file");
    config->application = text_of(&from, "application");
    read_source(config, &from);
    config->log_key = text_of(&from, "log_key");
    config->timeout_s = number_of(&from, "timeout", MAX_TIMEOUT_S, 30);
    config->batch_entries = number_of(&from, "batch_entries", MAX_BATCH_ENTRIES, 2000);
    config->use_tls = truth_of(&from, "use_tls", false);
    config->tls_verify = truth_of(&from, "tls_verify", true);
    config->tls_ca_file = text_of(&from, "tls_ca_file");
    config->tls_crt_file = text_of(&from, "tls_crt_file");
    config->tls_key_file = text_of(&from, "tls_key_file");
    config->tls_vhost = text_of(&from, "tls_vhost");
    const char *time = get("time", output);
    config->time_in_body = time != NULL && is_one_of(time, body);
    if (time != NULL && *time != '\0' && !config->time_in_body && !is_one_of(time, record)) {
        fail(&from, "time", time, "record or body");
    }
    const char *on_anomaly = get("on_anomaly", output);
    config->tells_anomalies = on_anomaly != NULL && is_one_of(on_anomaly, log);
    if (on_anomaly != NULL && *on_anomaly != '\0' && !config->tells_anomalies && !is_one_of(on_anomaly, none)) {
        fail(&from, "on_anomaly", on_anomaly, "none or log");
    }
    if ((config->tls_crt_file == NULL) != (config->tls_key_file == NULL)) {
        fail(&from, "tls_crt_file", config->tls_crt_file == NULL ? "" : config->tls_crt_file,
             "of use alone: give tls_crt_file and tls_key_file, or neither");
    }
    return !from.failed;
}

void config_free(struct config *config) {
    char *texts[] = {
        config->host,         config->port,         config->token,     config->token_file,
        config->application,  config->source,       config->log_key,   config->tls_ca_file,
        config->tls_crt_file, config->tls_key_file, config->tls_vhost,
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        free(texts[i]);
    }
    *config = (struct config){0};
}

static char *token_in(const char *path, char *error, size_t room) {
    FILE *file = fopen(path, "re");
    char *token = malloc(MAX_TOKEN_BYTES + 1);
    size_t size = 0;
    if (file != NULL && token != NULL) {
        size = fread(token, 1, MAX_TOKEN_BYTES, file);
        token[size] = '\0';
    }
    while (size > 0 && isspace((unsigned char)token[size - 1])) {
        token[--size] = '\0';
    }
    if (size == 0) {
        snprintf(error, room, "token_file: %.200s holds no token that can be read", path);
        free(token);
        token = NULL;
    }
    if (file != NULL) {
        fclose(file);
    }
    return token;
}

char *config_token(const struct config *config, char *error, size_t room) {
    *error = '\0';
    char *token = config->token_file != NULL ? token_in(config->token_file, error, room)
                  : config->token != NULL    ? strdup(config->token)
                                             : NULL;
    for (const char *at = token; at != NULL && *at != '\0'; at++) {
        if (*at < 0x20 || *at > 0x7e) {
            snprintf(error, room, "the token has a character that no header may have");
            free(token);
            return NULL;
        }
    }
    return token;
}

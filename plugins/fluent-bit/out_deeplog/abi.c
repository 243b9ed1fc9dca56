/* What Fluent Bit calls: its interface for plugins in Go, which plain C serves as well. The structures are Fluent Bit's
 * own (flb_plugin_proxy.h, flb_api.h, go.h), as far as all versions from 1.x on have them. */
#include "config.h"
#include "delivery.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

enum { TYPE_OUTPUT = 2, PROXY_GO = 11 };

struct plugin_definition {
    int type;
    int proxy;
    int flags;
    char *name;
    char *description;
    /* newer versions have more here, all 0 */
};

struct api {
    const char *(*output_get_property)(const char *name, void *output);
    const char *(*input_get_property)(const char *name, void *input);
    void *(*output_get_cmt_instance)(void *output);
    void *(*input_get_cmt_instance)(void *input);
    void (*log_print)(int level, const char *file, int line, const char *format, ...);
    int (*input_log_check)(void *input, int level);
    int (*output_log_check)(void *output, int level);
};

struct plugin_context {
    void *remote_context;
    void *proxy;
};

struct output_plugin {
    char *name;
    struct api *api;
    void *output;
    struct plugin_context *context;
};

struct instance {
    struct api *api;
    void *output;
    struct config config;
    struct log log;
    struct delivery *delivery;
};

EXPORTED int FLBPluginRegister(struct plugin_definition *definition);
EXPORTED int FLBPluginInit(struct output_plugin *plugin);
EXPORTED int FLBPluginOutputPreRun(int hot_reload);
EXPORTED int FLBPluginFlushCtx(void *remote_context, const void *data, size_t size, char *tag);
EXPORTED int FLBPluginExitCtx(void *remote_context);
EXPORTED int FLBPluginUnregister(struct plugin_definition *definition);

static void tell(struct instance *instance) {
    struct log *log = &instance->log;
    pthread_mutex_lock(&log->mutex);
    for (unsigned i = 0; i < log->count; i++) {
        if (instance->api->output_log_check(instance->output, (int)log->levels[i])) {
            instance->api->log_print((int)log->levels[i], NULL, 0, "[output:deeplog] %s", log->lines[i]);
        }
    }
    if (log->dropped > 0) {
        char line[64];
        snprintf(line, sizeof line, "%u further lines", log->dropped);
        instance->api->log_print(LOG_WARNING, NULL, 0, "[output:deeplog] %s", line);
    }
    log->count = log->dropped = 0;
    pthread_mutex_unlock(&log->mutex);
}

int FLBPluginRegister(struct plugin_definition *definition) {
    definition->type = TYPE_OUTPUT;
    definition->proxy = PROXY_GO;
    definition->flags = 0;
    definition->name = strdup("deeplog");
    definition->description = strdup("Log anomaly detection by a deeplog-grpc server");
    return definition->name != NULL && definition->description != NULL ? 0 : -1;
}

static void free_instance(struct instance *instance) {
    config_free(&instance->config);
    pthread_mutex_destroy(&instance->log.mutex);
    free(instance);
}

static bool open_instance(struct instance *instance) {
    char error[512];
    bool ok = config_read(&instance->config, instance->api->output_get_property, instance->output, error, sizeof error);
    if (ok) {
        instance->delivery = delivery_open(&instance->config, &instance->log, error, sizeof error);
    }
    if (instance->delivery == NULL) {
        instance->api->log_print(LOG_ERROR, NULL, 0, "[output:deeplog] %s", error);
        return false;
    }
    bool has_token = instance->config.token != NULL || instance->config.token_file != NULL;
    if (has_token && !instance->config.use_tls) {
        log_add(&instance->log, LOG_WARNING, "the token is sent without TLS: whoever sees the network can read it");
    }
    log_add(&instance->log, LOG_INFO, "%s:%s, source '%s'", instance->config.host, instance->config.port,
            instance->config.source);
    tell(instance);
    return true;
}

/* 1 = ready. The server need not be there yet. */
int FLBPluginInit(struct output_plugin *plugin) {
    plugin->context->remote_context = NULL;
    struct instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL) {
        return -1;
    }
    instance->api = plugin->api;
    instance->output = plugin->output;
    pthread_mutex_init(&instance->log.mutex, NULL);
    if (!open_instance(instance)) {
        free_instance(instance);
        return -1;
    }
    plugin->context->remote_context = instance;
    return 1;
}

int FLBPluginOutputPreRun(int hot_reload) {
    (void)hot_reload;
    return 0;
}

/* Runs on the small stack of a coroutine: all work is the other thread's. */
int FLBPluginFlushCtx(void *remote_context, const void *data, size_t size, char *tag) {
    struct instance *instance = remote_context;
    enum verdict verdict = delivery_send(instance->delivery, data, size, tag);
    tell(instance);
    return (int)verdict;
}

int FLBPluginExitCtx(void *remote_context) {
    struct instance *instance = remote_context;
    if (instance != NULL) {
        delivery_close(instance->delivery);
        tell(instance);
        free_instance(instance);
    }
    return 0;
}

int FLBPluginUnregister(struct plugin_definition *definition) {
    free(definition->name);
    free(definition->description);
    definition->name = definition->description = NULL;
    return 0;
}

#include "log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

void log_add(struct log *log, enum log_level level, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&log->mutex);
    if (log->count < LOG_LINES) {
        log->levels[log->count] = level;
        vsnprintf(log->lines[log->count], LOG_LINE_BYTES, format, arguments);
        log->count += 1;
    }
    else {
        log->dropped += 1;
    }
    pthread_mutex_unlock(&log->mutex);
    va_end(arguments);
}

char *log_printable(char *text, size_t room, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    size_t kept = 0;
    for (size_t i = 0; i < size && kept + 1 < room; i++) {
        text[kept++] = at[i] < 0x20 || at[i] == 0x7f ? ' ' : (char)at[i];
    }
    text[kept] = '\0';
    return text;
}

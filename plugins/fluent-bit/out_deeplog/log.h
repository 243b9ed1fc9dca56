/* Lines for Fluent Bit's log. They are kept until a thread of Fluent Bit's own comes by: its log knows no others. */
#ifndef DEEPLOG_LOG_H
#define DEEPLOG_LOG_H

#include <pthread.h>
#include <stddef.h>

enum log_level { LOG_ERROR = 1, LOG_WARNING = 2, LOG_INFO = 3, LOG_DEBUG = 4 };

enum { LOG_LINES = 64, LOG_LINE_BYTES = 512 };

struct log {
    pthread_mutex_t mutex;
    unsigned count;
    unsigned dropped; /* lines for which there was no room */
    enum log_level levels[LOG_LINES];
    char lines[LOG_LINES][LOG_LINE_BYTES];
};

void log_add(struct log *log, enum log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Write what is printable of foreign bytes as a text of at most `room` bytes with its end. Returns `text`. */
char *log_printable(char *text, size_t room, const void *bytes, size_t size);

#endif

/* Records of Fluent Bit as log entries of the service. */
#ifndef DEEPLOG_ENTRY_H
#define DEEPLOG_ENTRY_H

#include "buffer.h"
#include "msgpack.h"

enum {
    ENTRY_MAX_ATTRIBUTES = 128,       /* the server's own limit by default: an entry with more would be refused */
    ENTRY_MAX_NAME_BYTES = 256,       /* of an attribute, dots included */
    ENTRY_MAX_ATTRIBUTE_BYTES = 8192, /* of an attribute's value, which is cut */
    ENTRY_MAX_DEPTH = 8,              /* of maps in maps; what is deeper becomes JSON */
};

enum entry_result {
    ENTRY_WRITTEN,
    ENTRY_PASSED_OVER, /* the mark of a group of records: no record itself */
    ENTRY_BROKEN,      /* no msgpack, or no event */
};

struct entry_writer {
    const char *log_key; /* the record's key with the text of the message; NULL = the usual ones */
    const char *tag;     /* becomes the attribute `tag` */
    bool time_in_body;   /* no time is sent: the server takes that at the head of the line */
    bool names_pods;     /* pod and container, where a record names them, become its source */
    char *name;          /* room for the name of an attribute; see entry_writer_open */
    unsigned attributes;
    struct msgpack_value pod; /* of the record; a text where it names one */
    struct msgpack_value container;
    struct buffer text;
};

/* False if memory ran out. */
bool entry_writer_open(struct entry_writer *writer);
void entry_writer_close(struct entry_writer *writer);

/* Read the next event of a chunk, `[[time, metadata], record]` or `[time, record]`, and write it as the fields of a
 * `LogEntry`. */
enum entry_result entry_write(struct entry_writer *writer, struct msgpack_reader *reader, struct buffer *entry);

#endif

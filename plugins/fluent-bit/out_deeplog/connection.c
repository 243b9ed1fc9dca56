#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wait for a socket. False: the time is over. */
static bool wait_for(int socket, short events, int64_t deadline_ms) {
    for (;;) {
        int64_t left = deadline_ms - now_ms();
        struct pollfd waited = {.fd = socket, .events = events};
        if (left <= 0) {
            return false;
        }
        int count = poll(&waited, 1, (int)left);
        if (count > 0) {
            return true;
        }
        if (count < 0 && errno != EINTR) {
            return false;
        }
    }
}

static void set_options(int socket, unsigned timeout_s) {
    int on = 1;
    int idle_s = 30;
    int interval_s = 10;
    int probes = 3;
    unsigned unanswered_ms = timeout_s * 1000;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof unanswered_ms);
}

/* A connected socket, or -1 with errno. */
static int connect_to(const struct addrinfo *address, int64_t deadline_ms) {
    int found = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (found < 0) {
        return -1;
    }
    int error = connect(found, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
        socklen_t size = sizeof error;
        if (!wait_for(found, POLLOUT, deadline_ms)) {
            error = ETIMEDOUT;
        }
        else if (getsockopt(found, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
            error = errno;
        }
    }
    if (error != 0) {
        close(found);
        errno = error;
        return -1;
    }
    return found;
}

static int connect_to_any(const struct config *config, int64_t deadline_ms, char *error, size_t room) {
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses;
    int failure = getaddrinfo(config->host, config->port, &wanted, &addresses);
    if (failure != 0) {
        snprintf(error, room, "%.100s: %s", config->host, gai_strerror(failure));
        return -1;
    }
    int found = -1;
    for (const struct addrinfo *at = addresses; at != NULL && found < 0; at = at->ai_next) {
        found = connect_to(at, deadline_ms);
        if (found < 0) {
            char reason[100];
            const char *said = strerror_r(errno, reason, sizeof reason);
            snprintf(error, room, "%.100s:%s: %s", config->host, config->port, said);
        }
    }
    freeaddrinfo(addresses);
    return found;
}

static bool begin_tls(struct connection *connection, const struct config *config, struct tls_context *context,
                      int64_t deadline_ms, char *error, size_t room) {
    const char *name = config->tls_vhost != NULL ? config->tls_vhost : config->host;
    connection->tls = tls_open(context, connection->socket, name, error, room);
    if (connection->tls == NULL) {
        return false;
    }
    snprintf(error, room, "no TLS handshake with %.100s:%s in time", config->host, config->port);
    for (;;) {
        switch (tls_shake_hands(connection->tls, error, room)) {
        case TLS_DONE:
            return true;
        case TLS_BROKEN:
            return false;
        case TLS_WANTS_READ:
            if (!wait_for(connection->socket, POLLIN, deadline_ms)) {
                return false;
            }
            break;
        case TLS_WANTS_WRITE:
            if (!wait_for(connection->socket, POLLOUT, deadline_ms)) {
                return false;
            }
            break;
        }
    }
}

bool connection_open(struct connection *connection, const struct config *config, struct tls_context *context,
                     int64_t deadline_ms, char *error, size_t room) {
    *connection = (struct connection){.socket = connect_to_any(config, deadline_ms, error, room)};
    if (connection->socket < 0) {
        return false;
    }
    set_options(connection->socket, config->timeout_s);
    if (context == NULL || begin_tls(connection, config, context, deadline_ms, error, room)) {
        return true;
    }
    connection_close(connection);
    return false;
}

void connection_close(struct connection *connection) {
    tls_close(connection->tls);
    if (connection->socket >= 0) {
        close(connection->socket);
    }
    *connection = (struct connection){.socket = -1};
}

static ssize_t moved(struct connection *connection, enum tls_state state, size_t size) {
    switch (state) {
    case TLS_DONE:
        return (ssize_t)size;
    case TLS_WANTS_READ:
        connection->wants |= POLLIN;
        return 0;
    case TLS_WANTS_WRITE:
        connection->wants |= POLLOUT;
        return 0;
    default:
        return -1;
    }
}

static bool is_for_later(int error) {
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

ssize_t connection_read(struct connection *connection, void *bytes, size_t size) {
    if (connection->tls != NULL) {
        enum tls_state state = tls_read(connection->tls, bytes, &size);
        return moved(connection, state, size);
    }
    ssize_t count = recv(connection->socket, bytes, size, 0);
    if (count > 0) {
        return count;
    }
    return count < 0 && is_for_later(errno) ? 0 : -1;
}

ssize_t connection_write(struct connection *connection, const void *bytes, size_t size) {
    if (connection->tls != NULL) {
        enum tls_state state = tls_write(connection->tls, bytes, &size);
        return moved(connection, state, size);
    }
    ssize_t count = send(connection->socket, bytes, size, MSG_NOSIGNAL);
    return count >= 0 ? count : is_for_later(errno) ? 0 : -1;
}

void connection_wait(struct connection *connection, bool to_write, int wake, int timeout_ms) {
    short events = (short)(POLLIN | connection->wants | (to_write ? POLLOUT : 0));
    struct pollfd waited[2] = {{.fd = wake, .events = POLLIN}, {.fd = connection->socket, .events = events}};
    connection->wants = 0;
    poll(waited, 2, timeout_ms);
}

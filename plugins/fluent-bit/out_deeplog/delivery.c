#include "delivery.h"

#include "sender.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STACK_BYTES = 1 << 20 };

struct job {
    struct piece piece;
    enum verdict verdict;
    bool is_done;
    struct job *next;
};

struct delivery {
    struct sender sender; /* the thread's own */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t done;
    struct job *first; /* jobs that wait */
    atomic_bool stopping;
    int wake[2]; /* a pipe: a byte wakes the thread up */
};

static struct job *next_job(struct delivery *delivery) {
    pthread_mutex_lock(&delivery->mutex);
    struct job *job = delivery->first;
    if (job != NULL) {
        delivery->first = job->next;
    }
    pthread_mutex_unlock(&delivery->mutex);
    return job;
}

static void finish(struct delivery *delivery, struct job *job, enum verdict verdict) {
    pthread_mutex_lock(&delivery->mutex);
    job->verdict = verdict;
    job->is_done = true;
    pthread_cond_broadcast(&delivery->done);
    pthread_mutex_unlock(&delivery->mutex);
}

static void *run(void *argument) {
    struct delivery *delivery = argument;
    for (;;) {
        wake_drain(delivery->wake[0]);
        struct job *job = next_job(delivery);
        if (job != NULL) {
            finish(delivery, job, sender_deliver(&delivery->sender, &job->piece));
        }
        else if (atomic_load(&delivery->stopping)) {
            return NULL;
        }
        else {
            sender_idle(&delivery->sender);
        }
    }
}

static void wake_up(struct delivery *delivery) {
    while (write(delivery->wake[1], "", 1) < 0 && errno == EINTR) {
    }
}

enum verdict delivery_send(struct delivery *delivery, const void *data, size_t size, const char *tag) {
    struct job job = {.piece = {.data = data, .size = size, .tag = tag}};
    pthread_mutex_lock(&delivery->mutex);
    struct job **last = &delivery->first;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = &job;
    wake_up(delivery);
    while (!job.is_done) {
        pthread_cond_wait(&delivery->done, &delivery->mutex);
    }
    pthread_mutex_unlock(&delivery->mutex);
    return job.verdict;
}

/* Signals are for Fluent Bit's threads. */
static bool start_thread(struct delivery *delivery) {
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    sigfillset(&all);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(&delivery->thread, &attributes, run, delivery) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return ok;
}

static void free_delivery(struct delivery *delivery) {
    sender_close(&delivery->sender);
    for (unsigned i = 0; i < 2; i++) {
        if (delivery->wake[i] >= 0) {
            close(delivery->wake[i]);
        }
    }
    pthread_mutex_destroy(&delivery->mutex);
    pthread_cond_destroy(&delivery->done);
    free(delivery);
}

struct delivery *delivery_open(const struct config *config, struct log *log, char *error, size_t room) {
    struct delivery *delivery = calloc(1, sizeof *delivery);
    if (delivery == NULL) {
        snprintf(error, room, "no memory is left");
        return NULL;
    }
    delivery->wake[0] = delivery->wake[1] = -1;
    pthread_mutex_init(&delivery->mutex, NULL);
    pthread_cond_init(&delivery->done, NULL);
    bool has_pipe = pipe2(delivery->wake, O_NONBLOCK | O_CLOEXEC) == 0;
    delivery->sender.config = config;
    delivery->sender.log = log;
    delivery->sender.wake = delivery->wake[0];
    delivery->sender.stopping = &delivery->stopping;
    bool is_open = sender_open(&delivery->sender, error, room);
    if (is_open && has_pipe && start_thread(delivery)) {
        return delivery;
    }
    if (is_open) {
        snprintf(error, room, "no pipe or thread is left");
    }
    free_delivery(delivery);
    return NULL;
}

void delivery_close(struct delivery *delivery) {
    atomic_store(&delivery->stopping, true);
    wake_up(delivery);
    pthread_join(delivery->thread, NULL);
    free_delivery(delivery);
}

/* What the servers in C have in common: an epoll loop, and answers that leave in one write for each connection. What the
 * kernel does not take at once is queued: echo then stops reading that peer, relay drops a member with too much queued.
 * Who includes this defines handle_input. */

#ifndef EPOLL_SERVER_H
#define EPOLL_SERVER_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUFFER = 256 * 1024,
    MOST_EVENTS = 512,
    LARGE = 16 * 1024,                  /* from here on a message is sent from where it lies, not copied to others */
    MOST_MESSAGE = 16 * 1024 * 1024,
    MOST_QUEUED = 64 * 1024 * 1024,
};

struct bytes {
    char *data;
    size_t length, room;
};

/* Bytes that one or many connections still have to send. */
struct blob {
    size_t length;
    int users;
    char data[];
};

struct waiting {
    struct waiting *next;
    struct blob *blob;
    size_t sent;
};

struct connection {
    int fd;
    bool closed;
    int member;               /* index among the members */
    struct bytes unfinished;  /* the start of a message, or of a frame, whose end has not come yet */
    bool talking;             /* with WebSocket: the handshake is over */
    struct bytes message;     /* with WebSocket: the start of a message whose zero byte is in a frame to come */
    struct waiting *first, *last;
    size_t queued;
};

static enum { ECHO, RELAY, POLICY } mode;
static bool shakes_hands;     /* connections talk only after a handshake */
static int poll_fd, listen_fd;
static char in[BUFFER];
static struct bytes answers;  /* of this read (echo), of this turn (relay) */
static struct connection **members, **dead;
static int member_count, member_room, dead_count, dead_room;

static void check(bool good, const char *what) {
    if (good) return;
    perror(what);
    exit(1);
}

static void append(struct bytes *to, const char *data, size_t length) {
    if (to->length + length > to->room) {
        to->room = (to->length + length) * 2;
        to->data = realloc(to->data, to->room);
        check(to->data != NULL, "realloc");
    }
    memcpy(to->data + to->length, data, length);
    to->length += length;
}

static void list(struct connection ***all, int *count, int *room, struct connection *c) {
    if (*count == *room) {
        *room = *room ? *room * 2 : 64;
        *all = realloc(*all, (size_t)*room * sizeof **all);
        check(*all != NULL, "realloc");
    }
    (*all)[(*count)++] = c;
}

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    check(epoll_ctl(poll_fd, operation, c ? c->fd : listen_fd, &event) == 0, "epoll_ctl");
}

/* The memory lives on until the turn is over: events of this turn may still point to it. */
static void close_connection(struct connection *c) {
    if (c->closed) return;
    c->closed = true;
    close(c->fd);
    members[c->member] = members[--member_count];
    members[c->member]->member = c->member;
    list(&dead, &dead_count, &dead_room, c);
}

static void release(struct blob *blob) {
    if (--blob->users == 0) free(blob);
}

static void free_dead(void) {
    for (int i = 0; i < dead_count; i++) {
        struct connection *c = dead[i];
        for (struct waiting *w = c->first, *next; w; w = next) {
            next = w->next;
            release(w->blob);
            free(w);
        }
        free(c->unfinished.data);
        free(c->message.data);
        free(c);
    }
    dead_count = 0;
}

static void queue(struct connection *c, struct blob *blob, size_t sent) {
    struct waiting *w = malloc(sizeof *w);
    check(w != NULL, "malloc");
    *w = (struct waiting){NULL, blob, sent};
    blob->users++;
    if (c->first)
        c->last->next = w;
    else
        c->first = w;
    c->last = w;
    c->queued += blob->length - sent;
    if (c->queued > MOST_QUEUED)
        close_connection(c);
    else if (c->first == w)
        watch(c, EPOLL_CTL_MOD, mode == RELAY ? EPOLLIN | EPOLLOUT : EPOLLOUT);
}

/* Send at once what the kernel takes, queue the rest; `shared` holds the copy that all who need one share. */
static void deliver(struct connection *c, const char *data, size_t length, struct blob **shared) {
    size_t sent = 0;
    if (c->closed) return;
    if (!c->first) {
        ssize_t done = send(c->fd, data, length, MSG_NOSIGNAL);
        if (done < 0 && errno != EAGAIN) {
            close_connection(c);
            return;
        }
        sent = done > 0 ? (size_t)done : 0;
    }
    if (sent == length) return;
    if (!*shared) {
        *shared = malloc(sizeof **shared + length);
        check(*shared != NULL, "malloc");
        **shared = (struct blob){length, 1};
        memcpy((*shared)->data, data, length);
    }
    queue(c, *shared, sent);
}

static void deliver_answers(struct connection *only) {
    struct blob *shared = NULL;
    if (answers.length == 0) return;
    if (only)
        deliver(only, answers.data, answers.length, &shared);
    else
        for (int i = 0; i < member_count;) {
            struct connection *c = members[i];
            if (c->talking) deliver(c, answers.data, answers.length, &shared);
            i += members[i] == c && i < member_count; /* a closed one's place has gone to the last */
        }
    if (shared) release(shared);
    answers.length = 0;
}

static void send_waiting(struct connection *c) {
    while (c->first) {
        struct waiting *w = c->first;
        ssize_t done = send(c->fd, w->blob->data + w->sent, w->blob->length - w->sent, MSG_NOSIGNAL);
        if (done < 0) {
            if (errno != EAGAIN) close_connection(c);
            return;
        }
        w->sent += (size_t)done;
        c->queued -= (size_t)done;
        if (w->sent < w->blob->length) return;
        c->first = w->next;
        release(w->blob);
        free(w);
    }
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void handle_input(struct connection *c);

static void accept_connections(void) {
    for (int fd; (fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *c = calloc(1, sizeof *c);
        check(c != NULL, "calloc");
        c->fd = fd;
        c->talking = !shakes_hands;
        c->member = member_count;
        list(&members, &member_count, &member_room, c);
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void listen_on(int port) {
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    check(bind(listen_fd, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    check(listen(listen_fd, 4096) == 0, "listen");
    watch(NULL, EPOLL_CTL_ADD, EPOLLIN);
}

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Never returns. */
static void serve(const char *port) {
    struct epoll_event events[MOST_EVENTS];
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    listen_on(atoi(port));
    puts("ready");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poll_fd, events, MOST_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c)
                accept_connections();
            else if (!c->closed && events[i].events & EPOLLOUT)
                send_waiting(c);
            if (c && !c->closed && events[i].events & ~(uint32_t)EPOLLOUT) handle_input(c);
        }
        if (mode == RELAY) deliver_answers(NULL);
        free_dead();
    }
}

#endif

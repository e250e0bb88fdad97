/* The physical limit: what the machine lets one thread do, in C with epoll.
 *
 *     server echo|relay PORT
 *     server policy PORT FILE
 *
 * It cuts the stream at zero bytes and handles message by message, as any XMLSocket server must; the answers of one read
 * (echo), or what the whole room was told in one turn of the loop (relay), leave in one write for each connection. What the
 * kernel does not take at once is queued: echo then stops reading that peer, relay drops a member with too much queued. */

#define _GNU_SOURCE
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
    struct bytes unfinished;  /* the start of a message whose zero byte has not come yet */
    struct waiting *first, *last;
    size_t queued;
};

static enum { ECHO, RELAY, POLICY } mode;
static int poll_fd, listen_fd;
static char in[BUFFER];
static struct bytes answers;  /* of this read (echo), of this turn (relay) */
static struct bytes policy;   /* with its zero byte */
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
            deliver(c, answers.data, answers.length, &shared);
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

/* One message, its zero byte included. */
static void handle_message(struct connection *c, const char *message, size_t length) {
    static const char request[] = "<policy-file-request/>";
    struct blob *shared = NULL;
    if (mode == POLICY) {
        if (length == sizeof request && memcmp(message, request, length) == 0)
            deliver(c, policy.data, policy.length, &shared);
        close_connection(c); /* a policy goes into an empty socket buffer whole */
        if (shared) release(shared);
    } else if (mode == ECHO && length >= LARGE) {
        deliver_answers(c);
        deliver(c, message, length, &shared);
        if (shared) release(shared);
    } else {
        append(&answers, message, length);
    }
}

/* Handle the whole messages among the bytes; return how many bytes they are. */
static size_t handle_messages(struct connection *c, const char *data, size_t length) {
    size_t start = 0;
    for (const char *end; !c->closed && (end = memchr(data + start, 0, length - start)) != NULL;) {
        size_t next = (size_t)(end - data) + 1;
        handle_message(c, data + start, next - start);
        start = next;
    }
    return start;
}

/* Behind an unfinished message: read to where its rest belongs. */
static ssize_t read_rest(struct connection *c) {
    struct bytes *u = &c->unfinished;
    if (u->room - u->length < BUFFER / 4) {
        u->room = u->room < BUFFER ? BUFFER : u->room * 2;
        u->data = realloc(u->data, u->room);
        check(u->data != NULL, "realloc");
    }
    ssize_t done = recv(c->fd, u->data + u->length, u->room - u->length, 0);
    if (done <= 0) return done;
    const char *new = u->data + u->length;
    u->length += (size_t)done;
    if (!memchr(new, 0, (size_t)done)) {
        if (u->length > MOST_MESSAGE) close_connection(c);
        return done;
    }
    size_t used = handle_messages(c, u->data, u->length);
    u->length -= used;
    memmove(u->data, u->data + used, u->length);
    return done;
}

static void handle_input(struct connection *c) {
    ssize_t done;
    if (c->unfinished.length > 0) {
        done = read_rest(c);
    } else {
        done = recv(c->fd, in, BUFFER, 0);
        if (done > 0) {
            size_t used = handle_messages(c, in, (size_t)done);
            if (used < (size_t)done && !c->closed) append(&c->unfinished, in + used, (size_t)done - used);
        }
    }
    if (done == 0 || (done < 0 && errno != EAGAIN)) close_connection(c);
    if (mode == ECHO) deliver_answers(c);
}

static void accept_connections(void) {
    for (int fd; (fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *c = calloc(1, sizeof *c);
        check(c != NULL, "calloc");
        c->fd = fd;
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

static void read_policy(const char *path) {
    FILE *file = fopen(path, "rb");
    check(file != NULL, path);
    append(&policy, in, fread(in, 1, sizeof in, file));
    append(&policy, "", 1);
    fclose(file);
}

static void serve(void) {
    struct epoll_event events[MOST_EVENTS];
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

int main(int count, char **values) {
    struct rlimit limit;
    const char *name = count >= 3 ? values[1] : "";
    if (strcmp(name, "policy") == 0 && count == 4)
        mode = POLICY;
    else if (strcmp(name, "relay") == 0)
        mode = RELAY;
    else if (strcmp(name, "echo") != 0)
        return fprintf(stderr, "usage: server echo|relay PORT, or server policy PORT FILE\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (mode == POLICY) read_policy(values[3]);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    listen_on(atoi(values[2]));
    puts("ready");
    fflush(stdout);
    serve();
}

/* The physical limit: what the machine lets one thread do, in C with epoll.
 *
 *     server echo|relay PORT
 *     server policy PORT FILE
 *
 * It cuts the stream at zero bytes and handles message by message, as any XMLSocket server must; the answers of one read
 * (echo), or what the whole room was told in one turn of the loop (relay), leave in one write for each connection. What the
 * kernel does not take at once is queued: echo then stops reading that peer, relay drops a member with too much queued. */

#define _GNU_SOURCE
#include "epoll_server.h"

static struct bytes policy; /* with its zero byte */

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

static void read_policy(const char *path) {
    FILE *file = fopen(path, "rb");
    check(file != NULL, path);
    append(&policy, in, fread(in, 1, sizeof in, file));
    append(&policy, "", 1);
    fclose(file);
}

int main(int count, char **values) {
    const char *name = count >= 3 ? values[1] : "";
    if (strcmp(name, "policy") == 0 && count == 4)
        mode = POLICY;
    else if (strcmp(name, "relay") == 0)
        mode = RELAY;
    else if (strcmp(name, "echo") != 0)
        return fprintf(stderr, "usage: server echo|relay PORT, or server policy PORT FILE\n"), 2;
    if (mode == POLICY) read_policy(values[3]);
    serve(values[2]);
}

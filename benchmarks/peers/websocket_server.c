/* The physical limit of WebSocket: what the machine lets one thread do, in C with epoll.
 *
 *     websocket_server echo|relay PORT
 *
 * It takes what binary frames hold for a stream, cuts that at zero bytes, and answers each message in a frame of its own,
 * as an XMLSocket server for browsers must; the answers of one read, or of one turn, leave in one write. */

#define _GNU_SOURCE
#include "epoll_server.h"

#include "../websocket_frame.h"
#include "../websocket_handshake.h"

/* Answer the request when its end is there; return the bytes taken. */
static size_t shake_hands(struct connection *c, const char *data, size_t length) {
    char answer[256], accept[ACCEPT_SIZE + 1];
    struct blob *shared = NULL;
    static const char name[] = "\r\nSec-WebSocket-Key: ";
    const char *last = memmem(data, length, "\r\n\r\n", 4);
    if (!last) return 0;
    const char *key = memmem(data, (size_t)(last - data), name, sizeof name - 1);
    if (!key || key + sizeof name - 1 + KEY_SIZE > last) {
        close_connection(c);
        return length;
    }
    write_accept(accept, key + sizeof name - 1);
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    deliver(c, answer, (size_t)size, &shared);
    if (shared) release(shared);
    c->talking = true;
    return (size_t)(last - data) + 4;
}

/* One message, its zero byte included. */
static void answer_message(const char *message, size_t length) {
    char head[LONGEST_HEAD];
    append(&answers, head, write_frame(head, BINARY, length, NULL));
    append(&answers, message, length);
}

/* What a frame held, as the next bytes of the stream. */
static void handle_payload(struct connection *c, const char *data, size_t length) {
    for (const char *zero; length > 0 && (zero = memchr(data, 0, length)) != NULL;) {
        size_t part = (size_t)(zero - data) + 1;
        if (c->message.length > 0) {
            append(&c->message, data, part);
            answer_message(c->message.data, c->message.length);
            c->message.length = 0;
        } else {
            answer_message(data, part);
        }
        data += part;
        length -= part;
    }
    if (length > 0) append(&c->message, data, length);
}

static void answer_control(struct connection *c, int opcode, const char *data, size_t length) {
    char frame[LONGEST_HEAD + 125];
    struct blob *shared = NULL;
    if (opcode == PONG) return;
    if (mode == ECHO) deliver_answers(c);
    size_t head = write_frame(frame, opcode == PING ? PONG : CLOSE, length, NULL);
    memcpy(frame + head, data, length);
    deliver(c, frame, head + length, &shared);
    if (shared) release(shared);
    if (opcode == CLOSE) close_connection(c);
}

/* Handle the whole frames among the bytes, unmasking where they lie; return how many bytes they are. */
static size_t handle_frames(struct connection *c, char *data, size_t length) {
    size_t start = 0;
    struct frame f;
    while (!c->closed && read_frame(&f, data + start, length - start)) {
        char *payload = data + start + f.head;
        if (!f.masked || f.reserved || f.length > MOST_MESSAGE || (f.opcode >= CLOSE && f.length > 125)) {
            close_connection(c);
            break;
        }
        if (length - start - f.head < f.length) break;
        apply_mask(payload, f.length, f.mask, 0);
        if (f.opcode >= CLOSE)
            answer_control(c, f.opcode, payload, f.length);
        else
            handle_payload(c, payload, f.length);
        start += f.head + f.length;
    }
    return start;
}

static size_t handle_bytes(struct connection *c, char *data, size_t length) {
    size_t used = c->talking ? 0 : shake_hands(c, data, length);
    if (!c->closed && c->talking) used += handle_frames(c, data + used, length - used);
    return used;
}

static void handle_input(struct connection *c) {
    struct bytes *u = &c->unfinished;
    ssize_t done;
    if (u->length > 0) { /* read to where the rest belongs */
        if (u->room - u->length < BUFFER) {
            u->room = u->room < BUFFER ? 2 * BUFFER : u->room * 2;
            u->data = realloc(u->data, u->room);
            check(u->data != NULL, "realloc");
        }
        done = recv(c->fd, u->data + u->length, u->room - u->length, 0);
        if (done > 0) {
            u->length += (size_t)done;
            size_t used = handle_bytes(c, u->data, u->length);
            u->length -= used;
            if (used > 0) memmove(u->data, u->data + used, u->length);
        }
    } else {
        done = recv(c->fd, in, BUFFER, 0);
        if (done > 0) {
            size_t used = handle_bytes(c, in, (size_t)done);
            if (used < (size_t)done && !c->closed) append(u, in + used, (size_t)done - used);
        }
    }
    if (done == 0 || (done < 0 && errno != EAGAIN)) close_connection(c);
    if (mode == ECHO) deliver_answers(c);
}

int main(int count, char **values) {
    const char *name = count == 3 ? values[1] : "";
    if (strcmp(name, "relay") == 0)
        mode = RELAY;
    else if (strcmp(name, "echo") != 0)
        return fprintf(stderr, "usage: websocket_server echo|relay PORT\n"), 2;
    shakes_hands = true;
    serve(values[2]);
}

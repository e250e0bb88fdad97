/* Load for an XMLSocket server, from one process and one thread.
 *
 * Every byte and the order of every message is checked. The program ends with 0 and one line of JSON when all went well,
 * with 1 and a sentence when a message was lost, repeated, reordered or altered or a connection was closed, and with 2 and
 * a sentence when it could not do its work at all. `loadgen --help` lists scenarios and options.
 *
 * With --websocket each message, its zero byte included, is one masked binary frame. Frames from the server are read as a
 * stream of bytes, so that a server which cuts frames elsewhere is checked as well; its frames that do not hold exactly one
 * whole message are counted.
 *
 * The machinery comes first (connections, handshakes, sending, receiving), then one section for each scenario. It is one file, and
 * longer than others here, because all sections share that state, and because a reader of a figure should find what stands
 * behind it in one place. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loadgen_clock.h"
#include "loadgen_message.h"
#include "websocket_frame.h"
#include "websocket_handshake.h"

enum {
    BUFFER = 256 * 1024,
    MOST_EVENTS = 512,
    RING = 4096,             /* messages of one sender whose time of sending is remembered; a power of two */
    OPENING_AT_ONCE = 256,   /* below every peer's backlog: a full one costs a second per connection */
    SPREAD_FROM = 4000,      /* connections from which on the source addresses are spread over 127.0.0.x */
    SPREAD_OVER = 200,
    NOTICE = 0xffff,         /* sender of the messages that only find out who is in the room already */
};

static const uint64_t SURPLUS_WAIT = SECOND / 20;  /* how long to listen for messages that nobody sent */

struct connection {
    int fd;
    uint32_t id;
    bool connecting, waits_to_write;
    bool greeting;           /* the answer to its WebSocket handshake has not come yet */
    bool parting;            /* it has sent a close frame */
    bool parted;             /* it has got one back, or the end of the stream */
    char accept[ACCEPT_SIZE + 1];  /* what the handshake must be answered with */
    char head[LONGEST_HEAD]; /* the beginning of a frame whose head is not all there */
    uint32_t head_bytes;
    size_t frame_left;       /* bytes of the incoming frame that have not come */
    bool skipping;           /* it is a control frame */
    uint64_t opened_at;

    uint32_t sending;        /* number of the message being sent */
    uint32_t sent_bytes;     /* bytes of it that are on their way */
    uint32_t allowed;        /* messages below this number may be sent */
    uint64_t *sent_at;       /* of the latest RING messages */

    uint32_t position;       /* byte of the incoming message that comes next */
    uint32_t sender, number; /* who the incoming message is from, known behind its header */
    char header[HEADER];
    uint32_t *expected;      /* by sender (in echo there is one): the number that must come next */
    uint32_t notice;         /* latest notice seen */
    uint32_t received;
    uint64_t order;          /* a checksum over what came in which order */
};

struct scenario {
    const char *name;
    void (*run)(void);
    void (*connected)(struct connection *);
    void (*readable)(struct connection *);
    const char *summary;
};

static struct {
    const char *host, *text, *policy;
    int port, connections, depth, size, publishers;
    double seconds, warm_up, patience;
    bool spin, silent, websocket;
} option = {.host = "127.0.0.1", .text = "ascii", .connections = 1, .depth = 1, .size = 64, .publishers = 4,
            .seconds = 1.0, .warm_up = 0.25, .patience = 10.0};

static const struct scenario *scenario;
static struct connection *connections;
static int connection_count;
static int poll_fd;
static int opening;          /* connections that are not established yet */
static uint64_t opened;      /* connections ever opened */
static uint64_t allowed;     /* messages that may be sent, all senders together */
static uint64_t completed;   /* messages that arrived (relay: deliveries), connections done (churn, policy) */
static bool in_room;         /* relay: every member hears every sender */
static bool measuring, finishing;
static uint32_t notices;     /* relay: notices sent */
static uint64_t frames, odd_frames;  /* frames from the server; those that are not one whole message */
static size_t wire_size;     /* bytes that a message takes when it is sent */
static int noticed;          /* relay: members that have seen the latest one */
static char in[BUFFER], out[BUFFER];

/* Without any progress for so long, something is lost. */
static uint64_t patience(void) { return (uint64_t)(option.patience * (double)SECOND); }

static _Noreturn void stop(int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fputs("loadgen: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(code);
}
#define fail(...) stop(1, __VA_ARGS__)
#define give_up(...) stop(2, __VA_ARGS__)

/* ---- connections ---------------------------------------------------------------------------------------------- */

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poll_fd, operation, c->fd, &event) != 0) give_up("epoll_ctl: %s", strerror(errno));
}

static struct sockaddr_in address_of(const char *host, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) give_up("%s is not an IPv4 address", host);
    return address;
}

/* One source address has only so many ports, and looking for a free one grows slow long before they are used up. */
static void spread_source(int fd) {
    int on = 1;
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(opened % SPREAD_OVER));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) != 0) give_up("bind to 127.0.0.x: %s", strerror(errno));
}

/* ---- WebSocket handshakes --------------------------------------------------------------------------------------- */

/* The head of a request as a browser writes it, without extensions. */
static void send_handshake(struct connection *c) {
    uint64_t random[2] = {random_number(), random_number()};
    char key[KEY_SIZE + 1], request[512];
    write_base64(key, (const unsigned char *)random, sizeof random);
    write_accept(c->accept, key);
    int length = snprintf(request, sizeof request,
                          "GET / HTTP/1.1\r\nHost: %s:%d\r\nConnection: Upgrade\r\nPragma: no-cache\r\n"
                          "Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (loadgen)\r\nUpgrade: websocket\r\n"
                          "Origin: http://%s:%d\r\nSec-WebSocket-Version: 13\r\nAccept-Language: en\r\n"
                          "Sec-WebSocket-Key: %s\r\n\r\n",
                          option.host, option.port, option.host, option.port, key);
    c->greeting = true;
    if (send(c->fd, request, (size_t)length, MSG_NOSIGNAL) != length) give_up("send of a handshake failed");
}

/* The connection is there: with WebSocket the handshake follows, else the scenario begins. */
static void start_talking(struct connection *c) {
    c->parting = c->parted = false;
    c->head_bytes = 0;
    c->frame_left = 0;
    if (option.websocket) {
        send_handshake(c);
        return;
    }
    opening--;
    scenario->connected(c);
}

static void check_answer(const struct connection *c, char *answer) {
    static const char name[] = "\r\nsec-websocket-accept:";
    if (strncmp(answer, "HTTP/1.1 101 ", 13) != 0)
        fail("connection %u: its handshake was refused: \"%.*s\"", c->id, (int)strcspn(answer, "\r\n"), answer);
    const char *accept = strcasestr(answer, name);
    if (!accept) fail("connection %u: its handshake was answered without Sec-WebSocket-Accept", c->id);
    accept += sizeof name - 1;
    accept += strspn(accept, " ");
    if (strncmp(accept, c->accept, ACCEPT_SIZE) != 0)
        fail("connection %u: Sec-WebSocket-Accept is \"%.*s\" and should be \"%s\"", c->id, ACCEPT_SIZE, accept, c->accept);
    if (strcasestr(answer, "\r\nsec-websocket-extensions:")) fail("connection %u: an extension that was not offered", c->id);
}

/* Look at what came, and take the answer's head when all of it is there: frames may follow it at once. */
static void finish_handshake(struct connection *c) {
    char answer[4096];
    ssize_t length = recv(c->fd, answer, sizeof answer - 1, MSG_PEEK);
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) fail("connection %u: closed by the server during the handshake", c->id);
    answer[length] = 0;
    char *end = strstr(answer, "\r\n\r\n");
    if (!end && length == sizeof answer - 1) fail("connection %u: the answer to its handshake has no end", c->id);
    if (!end) return;
    if (recv(c->fd, answer, (size_t)(end - answer) + 4, 0) != end - answer + 4) give_up("recv of a handshake failed");
    end[2] = 0;
    check_answer(c, answer);
    c->greeting = false;
    opening--;
    scenario->connected(c);
}

static void send_close(struct connection *c) {
    static const unsigned char mask[4] = {0x6b, 0x17, 0xc4, 0x92};
    char frame[8];
    size_t head = write_frame(frame, CLOSE, 2, mask);
    memcpy(frame + head, "\x03\xe8", 2); /* 1000: normal closure */
    apply_mask(frame + head, 2, mask, 0);
    c->parting = true;
    if (send(c->fd, frame, head + 2, MSG_NOSIGNAL) != (ssize_t)head + 2) give_up("send of a close frame failed");
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

static void open_connection(struct connection *c, bool spread) {
    static struct sockaddr_in server;
    if (!server.sin_port) server = address_of(option.host, option.port);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) give_up("socket %d: %s", connection_count, strerror(errno));
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (spread) spread_source(c->fd);
    opened++;
    c->opened_at = time_now();
    int result = connect(c->fd, (struct sockaddr *)&server, sizeof server);
    if (result != 0 && errno != EINPROGRESS) give_up("connect to port %d: %s", option.port, strerror(errno));
    c->connecting = c->waits_to_write = result != 0;
    opening++;
    watch(c, EPOLL_CTL_ADD, c->connecting ? EPOLLIN | EPOLLOUT : EPOLLIN);
    if (!c->connecting) start_talking(c);
}

static void close_connection(struct connection *c) {
    close(c->fd);
    c->fd = -1;
}

static void finish_connecting(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) give_up("connect to port %d: %s", option.port, strerror(error));
    c->connecting = c->waits_to_write = false;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    start_talking(c);
}

/* ---- sending -------------------------------------------------------------------------------------------------- */

static void wait_to_write(struct connection *c, bool wait) {
    if (c->waits_to_write == wait) return;
    c->waits_to_write = wait;
    watch(c, EPOLL_CTL_MOD, wait ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Any mask will do that is another for each message. */
static void make_mask(unsigned char mask[4], uint32_t sender, uint32_t number) {
    uint32_t mixed = ((sender << 20) ^ number ^ 0x5bd1e995u) * 2654435761u;
    memcpy(mask, &mixed, 4);
}

/* Compose the message as it goes over the wire, from byte `from` on. */
static size_t compose_wire(char *to, size_t room, uint32_t sender, uint32_t number, size_t from) {
    if (!option.websocket) return compose(to, room, sender, number, from);
    size_t head_size = wire_size - message_size - 1, done = 0;
    unsigned char mask[4];
    make_mask(mask, sender, number);
    if (from < head_size) {
        char head[LONGEST_HEAD];
        write_frame(head, BINARY, message_size + 1, mask);
        done = smaller(head_size - from, room);
        memcpy(to, head + from, done);
        from += done;
    }
    if (done == room) return done;
    size_t part = compose(to + done, room - done, sender, number, from - head_size);
    apply_mask(to + done, part, mask, from - head_size);
    return done + part;
}

/* Compose what the connection may send, up to one buffer. */
static size_t compose_allowed(struct connection *c, uint64_t now) {
    size_t length = 0;
    uint32_t number = c->sending;
    size_t from = c->sent_bytes;
    while (number < c->allowed && length < BUFFER) {
        if (from == 0 && c->sent_at) c->sent_at[number & (RING - 1)] = now;
        size_t part = compose_wire(out + length, BUFFER - length, c->id, number, from);
        length += part;
        from += part;
        if (from == wire_size) {
            number++;
            from = 0;
        }
    }
    return length;
}

static void send_allowed(struct connection *c) {
    uint64_t now = time_now();
    while (c->sending < c->allowed) {
        size_t length = compose_allowed(c, now);
        ssize_t done = send(c->fd, out, length, MSG_NOSIGNAL);
        if (done < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            wait_to_write(c, false); /* reading tells how far it came before the server closed it */
            return;
        }
        if (done < 0 && errno != EAGAIN) fail("connection %u: send: %s", c->id, strerror(errno));
        if (done > 0) {
            size_t total = c->sent_bytes + (size_t)done;
            c->sending += (uint32_t)(total / wire_size);
            c->sent_bytes = (uint32_t)(total % wire_size);
        }
        if (done < (ssize_t)length) {
            wait_to_write(c, true);
            return;
        }
    }
    wait_to_write(c, false);
}

static void allow(struct connection *c, uint32_t count) {
    c->allowed += count;
    allowed += count;
}

/* ---- receiving ------------------------------------------------------------------------------------------------ */

/* Find out which message this is, and that it is its turn. */
static void identify(struct connection *c, const char *header) {
    if (!read_header(header, &c->sender, &c->number))
        fail("connection %u: altered: what follows its %u messages is no message: \"%.*s\"", c->id, c->received, HEADER,
             header);
    if (in_room && c->sender == NOTICE) {
        if (c->number >= notices) fail("connection %u: altered: a notice with number %u", c->id, c->number);
        if (c->number < c->notice) fail("connection %u: repeated: notice %u", c->id, c->number);
        return;
    }
    if (in_room ? c->sender >= (uint32_t)option.publishers : c->sender != c->id)
        fail("connection %u: got message %u of sender %u, which is not for it", c->id, c->number, c->sender);
    uint32_t expected = c->expected[in_room ? c->sender : 0];
    if (c->number > expected)
        fail("connection %u: lost or reordered: message %u of sender %u came, %u was next", c->id, c->number, c->sender,
             expected);
    if (c->number < expected)
        fail("connection %u: repeated or reordered: message %u of sender %u came, %u was next", c->id, c->number,
             c->sender, expected);
    if (c->number >= connections[c->sender].allowed)
        fail("connection %u: message %u of sender %u was never sent", c->id, c->number, c->sender);
}

static _Noreturn void fail_altered(struct connection *c, const char *bytes, size_t length) {
    char difference[120] = "";
    describe_difference(difference, sizeof difference, bytes, length, c->sender, c->number, c->position);
    fail("connection %u: altered: message %u of sender %u: %s", c->id, c->number, c->sender, difference);
}

/* A whole message is in; true when the connection itself had sent it. */
static bool count_message(struct connection *c, uint64_t now) {
    c->position = 0;
    if (c->sender == NOTICE && in_room) {
        c->notice = c->number + 1;
        noticed += c->notice == notices;
        return false;
    }
    c->expected[in_room ? c->sender : 0]++;
    c->received++;
    c->order = c->order * 1099511628211u + ((uint64_t)c->sender << 32 | c->number) + 1;
    completed++;
    const uint64_t *sent_at = connections[c->sender].sent_at;
    if (measuring && sent_at) record_latency(now - sent_at[c->number & (RING - 1)]);
    return c->sender == c->id;
}

/* Check bytes that arrived; return how many of the connection's own messages came back. */
static uint32_t check(struct connection *c, const char *bytes, size_t length, uint64_t now) {
    uint32_t own = 0;
    while (length > 0) {
        size_t part;
        if (c->position == 0 && length > message_size) { /* whole: nothing needs to be kept */
            identify(c, bytes);
            c->position = HEADER;
            part = message_size + 1;
            if (!matches(bytes + HEADER, part - HEADER, c->sender, c->number, HEADER))
                fail_altered(c, bytes + HEADER, part - HEADER);
            own += count_message(c, now);
        } else if (c->position < HEADER) {
            part = smaller(HEADER - c->position, length);
            memcpy(c->header + c->position, bytes, part);
            c->position += (uint32_t)part;
            if (c->position == HEADER) identify(c, c->header);
        } else {
            part = smaller(message_size + 1 - c->position, length);
            if (!matches(bytes, part, c->sender, c->number, c->position)) fail_altered(c, bytes, part);
            c->position += (uint32_t)part;
            if (c->position > message_size) own += count_message(c, now);
        }
        bytes += part;
        length -= part;
    }
    return own;
}

/* A frame begins. */
static void check_frame(struct connection *c, const struct frame *f) {
    if (f->reserved || f->masked) fail("connection %u: a frame %s", c->id, f->masked ? "with a mask" : "with reserved bits");
    if (f->opcode == CLOSE && !c->parting) fail("connection %u: lost: closed by the server with a close frame", c->id);
    if (f->opcode >= CLOSE) {
        if (f->length > 125 || !f->final) fail("connection %u: a control frame of %zu bytes", c->id, f->length);
        return;
    }
    if (f->opcode != BINARY && f->opcode != CONTINUATION) fail("connection %u: a frame with opcode %d", c->id, f->opcode);
    frames++;
    odd_frames += f->opcode != BINARY || !f->final || c->position != 0 || f->length != message_size + 1;
}

/* Read the head of a frame that begins here; return how many bytes were taken. What control frames hold is skipped; a
 * ping is not answered, because a run is over before its answer is missed. */
static size_t enter_frame(struct connection *c, const char *bytes, size_t length) {
    struct frame f;
    size_t kept = c->head_bytes;
    if (kept == 0 && read_frame(&f, bytes, length) && f.opcode < CLOSE) {
        check_frame(c, &f);
        c->frame_left = f.length;
        return f.head;
    }
    char joined[LONGEST_HEAD];
    size_t part = smaller(length, kept < LONGEST_HEAD ? LONGEST_HEAD - kept : 0);
    memcpy(joined, c->head, kept);
    memcpy(joined + kept, bytes, part);
    if (!read_frame(&f, joined, kept + part)) {
        memcpy(c->head + kept, bytes, part);
        c->head_bytes += (uint32_t)part;
        return part;
    }
    check_frame(c, &f);
    c->head_bytes = 0;
    c->parted |= f.opcode == CLOSE;
    c->frame_left = f.length;
    c->skipping = f.opcode >= CLOSE && f.length > 0;
    return f.head - kept;
}

/* Check frames that arrived, and the messages in them; return how many of the connection's own came back. */
static uint32_t check_frames(struct connection *c, const char *bytes, size_t length, uint64_t now) {
    uint32_t own = 0;
    while (length > 0) {
        size_t part;
        if (c->frame_left == 0) {
            part = enter_frame(c, bytes, length);
        } else {
            part = smaller(c->frame_left, length);
            c->frame_left -= part;
            if (!c->skipping) own += check(c, bytes, part, now);
            c->skipping &= c->frame_left > 0;
        }
        bytes += part;
        length -= part;
    }
    return own;
}

/* What one read brings; 0 at the end of the stream, -1 when nothing is there. */
static ssize_t read_some(struct connection *c) {
    ssize_t length = recv(c->fd, in, BUFFER, 0);
    if (length < 0 && errno != EAGAIN)
        fail("connection %u: lost: closed by the server after %u messages: %s", c->id, c->received, strerror(errno));
    return length;
}

static uint32_t receive(struct connection *c) {
    ssize_t length = read_some(c);
    if (length == 0 && !c->parting)
        fail("connection %u: lost: closed by the server after %u messages", c->id, c->received);
    c->parted |= length == 0;
    if (length <= 0) return 0;
    return option.websocket ? check_frames(c, in, (size_t)length, time_now()) : check(c, in, (size_t)length, time_now());
}

/* ---- the loop ------------------------------------------------------------------------------------------------- */

/* Wait for events until `until` at the latest and handle them; false when there were none. */
static bool handle_events(uint64_t until) {
    struct epoll_event events[MOST_EVENTS];
    uint64_t now = time_now();
    int wait = option.spin || until <= now ? 0 : (int)((until - now + 999999) / 1000000);
    int count = epoll_wait(poll_fd, events, MOST_EVENTS, wait);
    if (count < 0 && errno != EINTR) give_up("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->connecting)
            finish_connecting(c);
        else if (c->greeting)
            finish_handshake(c);
        else if (events[i].events & ~(uint32_t)EPOLLOUT)
            scenario->readable(c);
        else
            send_allowed(c);
    }
    return count > 0;
}

/* Which message does who still wait for? For the sentence that says so. */
static _Noreturn void fail_missing(void) {
    for (int i = 0; i < connection_count; i++) {
        struct connection *c = &connections[i];
        for (int s = 0; s < (in_room ? option.publishers : 1); s++) {
            struct connection *sender = in_room ? &connections[s] : c;
            if (c->fd >= 0 && c->expected && c->expected[s] < sender->allowed)
                fail("connection %u: lost: message %u of sender %u did not come within %g s (it got %u messages)", c->id,
                     c->expected[s], sender->id, option.patience, c->received);
        }
    }
    fail("lost: nothing came for %g s", option.patience);
}

/* Handle events until the time is over or `done` says so; fail when nothing moves for too long. */
static void handle_until(uint64_t until, bool (*done)(void)) {
    uint64_t before = completed, moved = time_now();
    for (;;) {
        if (done && done()) return;
        uint64_t now = time_now();
        if (now >= until) return;
        if (completed != before) {
            before = completed;
            moved = now;
        }
        if (now - moved > patience()) fail_missing();
        handle_events(until < now + SECOND ? until : now + SECOND);
    }
}

static bool nothing_opening(void) { return opening == 0; }

static void print_result(struct reading a, struct reading b) {
    double seconds = (double)(b.time - a.time) / SECOND;
    printf("{\"scenario\": \"%s\", \"connections\": %d, \"messages\": %llu, \"seconds\": %.6f, \"rate\": %.1f, "
           "\"latency_p50_us\": %.1f, \"latency_p99_us\": %.1f, \"client_cpu_seconds\": %.6f, \"server_cpu_seconds\": %.6f, "
           "\"frames\": %llu, \"odd_frames\": %llu}\n",
           scenario->name, option.connections, (unsigned long long)(b.done - a.done), seconds,
           (double)(b.done - a.done) / seconds, latency_quantile(0.50), latency_quantile(0.99),
           (double)(b.client_cpu - a.client_cpu) / SECOND, (double)(b.server_cpu - a.server_cpu) / SECOND,
           (unsigned long long)frames, (unsigned long long)odd_frames);
    fflush(stdout);
}

/* Warm up, measure, let what is under way arrive; `done` tells when all of it has. */
static void measure(bool (*done)(void)) {
    handle_until(time_now() + (uint64_t)(option.warm_up * (double)SECOND), NULL);
    struct reading begin = take_reading(completed);
    measuring = true;
    handle_until(begin.time + (uint64_t)(option.seconds * (double)SECOND), NULL);
    struct reading end = take_reading(completed);
    measuring = false;
    finishing = true;
    handle_until(UINT64_MAX, done);
    if (end.done == begin.done) fail("nothing arrived in %.2f s", option.seconds);
    print_result(begin, end);
}

static void expect_silence(void) {
    uint64_t until = time_now() + SURPLUS_WAIT;
    while (time_now() < until)
        handle_events(until); /* anything that comes now is identified as surplus, or fails as a closed connection */
}

static void make_connections(int count, int senders, int expectations) {
    connection_count = count;
    connections = calloc((size_t)count, sizeof *connections);
    uint32_t *expected = calloc((size_t)count * (size_t)expectations, sizeof *expected);
    for (int i = 0; i < count; i++) {
        struct connection *c = &connections[i];
        c->fd = -1;
        c->id = (uint32_t)i;
        c->expected = expected + (size_t)i * (size_t)expectations;
        if (i < senders) c->sent_at = calloc(RING, sizeof *c->sent_at);
    }
}

static void ignore(struct connection *c) { (void)c; }

/* ---- echo: each connection keeps `depth` messages under way --------------------------------------------------- */

static void echo_readable(struct connection *c) {
    uint32_t own = receive(c);
    if (own == 0 || finishing) return;
    allow(c, own);
    send_allowed(c);
}

static bool all_echoed(void) { return completed == allowed; }

static void run_echo(void) {
    make_connections(option.connections, option.connections, 1);
    for (int i = 0; i < connection_count; i++) open_connection(&connections[i], connection_count > SPREAD_FROM);
    handle_until(UINT64_MAX, nothing_opening);
    for (int i = 0; i < connection_count; i++) {
        allow(&connections[i], (uint32_t)option.depth);
        send_allowed(&connections[i]);
    }
    measure(all_echoed);
    expect_silence();
}

/* ---- relay: the first `publishers` of all members keep `depth` messages under way, each goes to every member ---- */

static bool all_delivered(void) { return completed == allowed * (uint64_t)connection_count; }

static struct connection *newest;
static bool newest_noticed(void) { return newest->notice == notices; }
static bool all_noticed(void) { return noticed == connection_count; }

static void send_notice(void) {
    noticed = 0;
    size_t length = compose_wire(out, BUFFER, NOTICE, notices++, 0);
    if (send(newest->fd, out, length, MSG_NOSIGNAL) != (ssize_t)length) give_up("send of a notice failed");
}

/* Connections are taken in their order: when the newest one hears itself, the server has taken all of them. */
static void wait_until_taken(void) {
    handle_until(UINT64_MAX, nothing_opening);
    send_notice();
    handle_until(time_now() + patience(), newest_noticed);
    if (!newest_noticed()) fail("lost: connection %u never got what it sent itself", newest->id);
}

/* A server may wait a moment with members that say nothing, to see which protocol they speak: ask until all are in. */
static void wait_for_members(void) {
    uint64_t give_up_at = time_now() + patience();
    do {
        send_notice();
        handle_until(time_now() + SECOND / 4, all_noticed);
    } while (!all_noticed() && time_now() < give_up_at);
    if (!all_noticed()) fail("lost: only %d of %d members heard what one of them sent", noticed, connection_count);
}

static void run_relay(void) {
    in_room = true;
    if (option.publishers > option.connections) give_up("%d publishers among %d members", option.publishers, option.connections);
    if (option.size >= BUFFER) give_up("a message in a room may have %d bytes at most", BUFFER - 1);
    make_connections(option.connections, option.publishers, option.publishers);
    int publisher = 0, listener = option.publishers;
    for (int i = 0; i < connection_count; i++) {
        /* Publishers are spread over the room: whoever is served first or last must not matter. */
        bool publishes = (int64_t)publisher * connection_count / option.publishers == i && publisher < option.publishers;
        newest = &connections[publishes ? publisher++ : listener++];
        open_connection(newest, connection_count > SPREAD_FROM);
        if ((i + 1) % OPENING_AT_ONCE == 0 || i + 1 == connection_count) wait_until_taken();
    }
    wait_for_members();
    for (int i = 0; i < option.publishers; i++) {
        allow(&connections[i], (uint32_t)option.depth);
        send_allowed(&connections[i]);
    }
    measure(all_delivered);
    expect_silence();
    for (int i = 1; i < connection_count; i++)
        if (connections[i].order != connections[0].order)
            fail("reordered: members 0 and %d heard the senders' messages in different orders", i);
}

/* ---- churn: connect, one message there and back, close, and again, `connections` at a time --------------------- */

static int under_way;
static bool all_closed(void) { return under_way == 0; }

static void reopen(struct connection *c) {
    if (measuring) record_latency(time_now() - c->opened_at);
    close_connection(c);
    under_way--;
    if (finishing) return;
    under_way++;
    open_connection(c, true);
}

static void churn_connected(struct connection *c) {
    allow(c, 1);
    send_allowed(c);
}

static void churn_readable(struct connection *c) {
    uint32_t own = receive(c);
    if (own > 0 && (c->position != 0 || c->received != c->allowed || c->parting))
        fail("connection %u: repeated: more than its message came", c->id);
    if (own > 0 && option.websocket)
        send_close(c);
    else if (own > 0 || c->parted)
        reopen(c);
}

static void run_churn(void) {
    make_connections(option.connections, 0, 1);
    for (int i = 0; i < connection_count; i++) {
        under_way++;
        open_connection(&connections[i], true);
    }
    measure(all_closed);
}

/* ---- policy: ask for the policy file, read it and the end of the stream, and again ------------------------------ */

static char *policy;
static size_t policy_size; /* with its zero byte */

static void policy_connected(struct connection *c) {
    static const char request[] = "<policy-file-request/>"; /* its zero byte goes with it */
    c->position = 0;
    if (send(c->fd, request, sizeof request, MSG_NOSIGNAL) != (ssize_t)sizeof request)
        fail("connection %u: send: %s", c->id, strerror(errno));
}

static void policy_readable(struct connection *c) {
    ssize_t length = read_some(c);
    if (length < 0) return;
    if (length == 0) {
        if (c->position != policy_size)
            fail("connection %u: lost: closed after %u of %zu bytes of the policy", c->id, c->position, policy_size);
        completed++;
        reopen(c);
        return;
    }
    if ((size_t)length > policy_size - c->position || memcmp(in, policy + c->position, (size_t)length) != 0)
        fail("connection %u: altered: the answer is not the policy: \"%.*s\"", c->id, (int)smaller((size_t)length, 80), in);
    c->position += (uint32_t)length;
}

static void run_policy(void) {
    FILE *file = option.policy ? fopen(option.policy, "rb") : NULL;
    if (!file) give_up("policy needs --policy FILE with the policy that is expected");
    policy = calloc(1, BUFFER);
    policy_size = fread(policy, 1, BUFFER - 1, file) + 1;
    fclose(file);
    run_churn();
}

/* ---- idle: open `connections` as fast as they are taken, hold them until a line comes on standard input --------- */

static int confirmed;
static struct connection *probe;

static void idle_connected(struct connection *c) {
    if (option.silent && c != probe) return;
    churn_connected(c);
}

static void idle_readable(struct connection *c) {
    if (receive(c) == 0) return;
    if (c->received > 1) fail("connection %u: repeated: more than its message came", c->id);
    confirmed++;
}

static bool all_confirmed(void) { return confirmed == option.connections; }
static bool probe_confirmed(void) { return probe->received == 1; }

/* Silent connections show nothing of their being taken; a talking one that comes behind them does. */
static void wait_for_silent(int index) {
    probe = &connections[index];
    open_connection(probe, connection_count > SPREAD_FROM);
    handle_until(UINT64_MAX, probe_confirmed);
}

static void hold(void) {
    char line[16];
    printf("{\"event\": \"holding\", \"connections\": %d}\n", option.connections);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) give_up("standard input ended before the word to stop holding came");
    expect_silence();
}

static void run_idle(void) {
    int probes = option.silent ? option.connections / OPENING_AT_ONCE + 1 : 0;
    bool spread = option.connections > SPREAD_FROM;
    make_connections(option.connections + probes, 0, 1);
    struct reading begin = take_reading(0);
    for (int i = 0; i < option.connections; i++) {
        while (!option.silent && i - confirmed >= OPENING_AT_ONCE) handle_events(time_now() + SECOND);
        open_connection(&connections[i], spread);
        if (option.silent && (i + 1) % OPENING_AT_ONCE == 0) wait_for_silent(option.connections + i / OPENING_AT_ONCE);
        if (opened % 16 == 0) handle_events(0);
    }
    if (option.silent)
        wait_for_silent(option.connections + probes - 1);
    else
        handle_until(UINT64_MAX, all_confirmed);
    struct reading end = take_reading((uint64_t)option.connections);
    hold();
    print_result(begin, end);
}

/* ---- start ---------------------------------------------------------------------------------------------------- */

static const struct scenario scenarios[] = {
    {"echo", run_echo, ignore, echo_readable, "--connections with --depth messages under way on each"},
    {"relay", run_relay, ignore, echo_readable, "--connections members, --publishers of them with --depth each"},
    {"churn", run_churn, churn_connected, churn_readable, "connect, echo, close; --connections at a time"},
    {"policy", run_policy, policy_connected, policy_readable, "fetch the policy in FILE; --connections at a time"},
    {"idle", run_idle, idle_connected, idle_readable, "open --connections, echo one message on each (not if --silent), hold"},
};

static _Noreturn void usage(void) {
    puts("usage: loadgen SCENARIO --port N [options]\n\nscenarios:");
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        printf("  %-8s %s\n", scenarios[i].name, scenarios[i].summary);
    puts("\noptions:\n"
         "  --host ADDRESS        IPv4 address of the server (127.0.0.1)\n"
         "  --port N              its port\n"
         "  --connections N       (1)\n"
         "  --depth N             messages under way per sender (1)\n"
         "  --size N              bytes of a message without its zero byte (64)\n"
         "  --publishers N        members that send, in relay (4)\n"
         "  --text ascii|mixed    mixed has Cyrillic and ideographs among the ASCII (ascii)\n"
         "  --seconds S           time measured (1)\n"
         "  --warm-up S           time before it (0.25)\n"
         "  --patience S          how long nothing may arrive before it counts as lost (10)\n"
         "  --policy FILE         the policy that the server must answer\n"
         "  --websocket           each message is a binary frame, after a handshake; not for policy\n"
         "  --silent              idle: say nothing on the connections\n"
         "  --spin                never sleep: for one connection, where waking up would be what is measured\n"
         "  --server-pids N,N     processes whose processor time counts as the server's\n"
         "  --server-children     that of their children counts too");
    exit(0);
}

static void read_options(int count, char **values) {
    enum { HOST, PORT, CONNECTIONS, DEPTH, SIZE, PUBLISHERS, TEXT, SECONDS, WARM_UP, PATIENCE,
           POLICY, WEBSOCKET, SILENT, SPIN, PIDS, CHILDREN, HELP };
    static const struct option known[] = {
        {"host", 1, 0, HOST}, {"port", 1, 0, PORT}, {"connections", 1, 0, CONNECTIONS}, {"depth", 1, 0, DEPTH},
        {"size", 1, 0, SIZE}, {"publishers", 1, 0, PUBLISHERS}, {"text", 1, 0, TEXT}, {"seconds", 1, 0, SECONDS},
        {"warm-up", 1, 0, WARM_UP}, {"patience", 1, 0, PATIENCE}, {"policy", 1, 0, POLICY},
        {"websocket", 0, 0, WEBSOCKET}, {"silent", 0, 0, SILENT}, {"spin", 0, 0, SPIN},
        {"server-children", 0, 0, CHILDREN},
        {"server-pids", 1, 0, PIDS}, {"help", 0, 0, HELP}, {0, 0, 0, 0}};
    for (int found; (found = getopt_long(count, values, "", known, NULL)) != -1;) {
        switch (found) {
        case HOST: option.host = optarg; break;
        case PORT: option.port = atoi(optarg); break;
        case CONNECTIONS: option.connections = atoi(optarg); break;
        case DEPTH: option.depth = atoi(optarg); break;
        case SIZE: option.size = atoi(optarg); break;
        case PUBLISHERS: option.publishers = atoi(optarg); break;
        case TEXT: option.text = optarg; break;
        case SECONDS: option.seconds = atof(optarg); break;
        case WARM_UP: option.warm_up = atof(optarg); break;
        case PATIENCE: option.patience = atof(optarg); break;
        case POLICY: option.policy = optarg; break;
        case WEBSOCKET: option.websocket = true; break;
        case CHILDREN: children_count = true; break;
        case SILENT: option.silent = true; break;
        case SPIN: option.spin = true; break;
        case PIDS: read_server_processes(optarg); break;
        case HELP: usage();
        default: exit(2);
        }
    }
    for (size_t i = 0; optind < count && i < sizeof scenarios / sizeof *scenarios; i++)
        if (strcmp(values[optind], scenarios[i].name) == 0) scenario = &scenarios[i];
    if (!scenario) give_up("say a scenario: echo, relay, churn, policy or idle (loadgen --help)");
    if (option.websocket && strcmp(scenario->name, "policy") == 0) give_up("policy has no --websocket");
    if (option.port < 1 || option.port > 65535) give_up("--port is %d, and must be 1 to 65535", option.port);
    if (option.connections < 1 || option.connections >= NOTICE) give_up("--connections must be 1 to %d", NOTICE - 1);
    if (option.depth < 1 || option.depth > RING) give_up("--depth must be 1 to %d", RING);
    if (option.publishers < 1) give_up("--publishers must be at least 1");
    if (option.size < SMALLEST_MESSAGE) give_up("--size must be at least %d", SMALLEST_MESSAGE);
    if (option.seconds <= 0 || option.warm_up < 0 || option.patience <= 0)
        give_up("--seconds and --patience must be above 0, --warm-up not below");
    if (strcmp(option.text, "ascii") != 0 && strcmp(option.text, "mixed") != 0) give_up("--text is ascii or mixed");
}

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    rlim_t needed = (rlim_t)option.connections + 128;
    if (limit.rlim_max < needed)
        give_up("%d connections need %llu descriptors, and this process may have %llu (ulimit -Hn)", option.connections,
                (unsigned long long)needed, (unsigned long long)limit.rlim_max);
}

int main(int count, char **values) {
    read_options(count, values);
    raise_descriptor_limit();
    prepare_messages((size_t)option.size, strcmp(option.text, "mixed") == 0);
    char head[LONGEST_HEAD];
    wire_size = message_size + 1 + (option.websocket ? write_frame(head, BINARY, message_size + 1, (unsigned char *)"mask") : 0);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    scenario->run();
    return 0;
}

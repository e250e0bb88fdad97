/* Many small rooms: each connection says which room it is in, some of each room speak, everybody counts.
 *
 * A speaker keeps DEPTH messages under way: its own copy, when it comes back, makes room for the next. With a RATE the
 * speakers say so many a second instead, all of them together, evenly and in turn; without speakers it only listens,
 * to what it is told that RATE of by another. Each message carries its speaker and number; a listener that gets one twice, late or altered ends the run, and what is missing is
 * counted. Prints one line of JSON. One thread, epoll.
 *
 * cc -O2 -o rooms_load rooms_load.c; ./rooms_load PORT CONNECTIONS MEMBERS SPEAKERS DEPTH SECONDS SETTLE RATE
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, BUFFER = 65536, MOST_SPEAKERS = 10, DEADLINE = 30 };

struct connection {
    int socket, room, speaker; /* speaker: number in its room, or -1 */
    uint32_t next;             /* the number that it says next */
    uint32_t expected[MOST_SPEAKERS];
    int joined, held;
    double sent_at[64];
    char kept[SIZE + 1]; /* the beginning of a message whose end has not come */
};

static struct connection *connections;
static int epoll, count, members, speakers, depth, joined;
static uint64_t deliveries, said, missing;
static double *latencies;
static size_t latency_count, latency_room = 1 << 20;
static int is_counting, is_speaking;
static double rate, next_at;
static int next_speaker;

static void give_up(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void say(struct connection *c, int times) {
    char out[16 * (SIZE + 1)];
    size_t length = 0;
    for (int i = 0; i < times; i++) {
        char *message = out + length;
        memset(message, 'x', SIZE);
        int head = snprintf(message, SIZE, "%d %u ", c->speaker, c->next);
        message[head] = 'x';
        message[SIZE] = 0;
        c->sent_at[c->next++ % 64] = now();
        length += SIZE + 1;
    }
    if (write(c->socket, out, length) != (ssize_t)length) give_up("a small write did not go: %s", strerror(errno));
    said += times;
}

static void take(struct connection *c, const char *message, double at, int *answers) {
    if (!c->joined) {
        if (strcmp(message, "joined")) give_up("the server says %s", message);
        c->joined = 1;
        joined++;
        return;
    }
    char *end;
    unsigned long speaker = strtoul(message, &end, 10), number = strtoul(end, &end, 10);
    if (strlen(message) != SIZE || speaker >= (unsigned long)(speakers ? speakers : MOST_SPEAKERS)) give_up("not a message of ours: %s", message);
    if (number < c->expected[speaker]) give_up("message %lu came again", number);
    missing += number - c->expected[speaker];
    c->expected[speaker] = number + 1;
    if (is_counting) deliveries++;
    if ((int)speaker == c->speaker) {
        (*answers)++;
        if (is_counting && latency_count < latency_room) latencies[latency_count++] = at - c->sent_at[number % 64];
    }
}

static void receive(struct connection *c) {
    static char in[BUFFER + SIZE + 1];
    int answers = 0;
    memcpy(in, c->kept, c->held);
    ssize_t got = read(c->socket, in + c->held, BUFFER);
    if (got <= 0) give_up("a connection ended: %s", got ? strerror(errno) : "by the server");
    char *start = in, *stop = in + c->held + got, *end;
    double at = now();
    while ((end = memchr(start, 0, stop - start))) {
        take(c, start, at, &answers);
        start = end + 1;
    }
    c->held = stop - start;
    if (c->held > SIZE) give_up("a message has no end");
    memcpy(c->kept, start, c->held);
    if (answers && is_speaking && !rate) say(c, answers);
}

/* Say what is due; speakers stand first. */
static void say_due(void) {
    while (is_speaking && rate && speakers && next_at <= now()) {
        say(&connections[next_speaker], 1);
        next_speaker = (next_speaker + 1) % (count / members * speakers);
        next_at += 1 / rate;
    }
}

static void turn(double until) {
    struct epoll_event events[256];
    while (now() < until) {
        int ready = epoll_wait(epoll, events, 256, rate ? 1 : 20);
        for (int i = 0; i < ready; i++) receive(events[i].data.ptr);
        say_due();
        if (!is_speaking && joined == count) return;
    }
}

static void open_all(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < count; i++) {
        struct connection *c = &connections[i];
        int one = 1;
        c->socket = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(c->socket, (struct sockaddr *)&address, sizeof address)) give_up("connect: %s", strerror(errno));
        setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        /* Members of a room are far apart in time, so that workers share rooms by chance. */
        c->room = i % (count / members);
        int place = i / (count / members);
        c->speaker = place < speakers ? place : -1;
        char hello[32];
        int length = snprintf(hello, sizeof hello, "room %d", c->room) + 1;
        if (write(c->socket, hello, length) != length) give_up("hello did not go");
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->socket, &event);
    }
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 9) give_up("usage: rooms_load PORT CONNECTIONS MEMBERS SPEAKERS DEPTH SECONDS SETTLE RATE");
    int port = atoi(argv[1]);
    members = atoi(argv[3]), speakers = atoi(argv[4]), depth = atoi(argv[5]);
    count = atoi(argv[2]) / members * members;
    double seconds = atof(argv[6]), settle = atof(argv[7]);
    rate = atof(argv[8]);
    if (count < 1 || speakers > MOST_SPEAKERS || speakers > members || depth > 16) give_up("these numbers do not do");
    connections = calloc(count, sizeof *connections);
    latencies = malloc(latency_room * sizeof *latencies);
    epoll = epoll_create1(0);
    open_all(port);
    turn(now() + DEADLINE);
    if (joined < count) give_up("%d of %d are in their rooms after %d s", joined, count, DEADLINE);
    usleep(settle * 1e6); /* nodes hear of each other's rooms */
    puts("ready"); /* whoever watches the processors begins now */
    fflush(stdout);
    is_speaking = 1;
    next_at = now();
    for (int i = 0; i < count; i++)
        if (connections[i].speaker >= 0 && !rate) say(&connections[i], depth);
    if (!rate) turn(now() + 0.5);
    is_counting = 1;
    uint64_t said_before = said;
    double start = now();
    turn(start + seconds);
    double took = now() - start;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    qsort(latencies, latency_count, sizeof *latencies, compare);
    if (!latency_count && speakers) give_up("nobody heard anything");
    printf("{\"said\": %lu, \"deliveries\": %lu, \"missing\": %lu, \"seconds\": %.3f, \"load_cpu\": %.3f, "
           "\"p50\": %.6f, \"p99\": %.6f}\n",
           (unsigned long)(said - said_before), (unsigned long)deliveries, (unsigned long)missing, took, cpu,
           latency_count ? latencies[latency_count / 2] : 0, latency_count ? latencies[(size_t)(latency_count * 0.99)] : 0);
    return 0;
}

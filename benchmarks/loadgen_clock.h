/* Time, processor time and latencies for the load generator. */

#ifndef LOADGEN_CLOCK_H
#define LOADGEN_CLOCK_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ull

enum { MOST_PROCESSES = 64 };

static pid_t server_processes[MOST_PROCESSES];
static int server_process_count;
static bool children_count;

static uint64_t read_clock(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t) != 0) return 0;
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t time_now(void) { return read_clock(CLOCK_MONOTONIC); }

static uint64_t cpu_time_of(pid_t process) {
    clockid_t clock;
    return clock_getcpuclockid(process, &clock) == 0 ? read_clock(clock) : 0;
}

static pid_t parent_of(pid_t process) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file) fclose(file);
    line[length] = 0;
    const char *name_end = strrchr(line, ')');
    int parent = 0;
    return name_end && sscanf(name_end, ") %*c %d", &parent) == 1 ? parent : 0;
}

static uint64_t cpu_time_of_children(pid_t process) {
    uint64_t sum = 0;
    DIR *processes = opendir("/proc");
    for (struct dirent *entry; processes && (entry = readdir(processes)) != NULL;) {
        pid_t child = (pid_t)atoi(entry->d_name);
        if (child > 0 && parent_of(child) == process) sum += cpu_time_of(child);
    }
    if (processes) closedir(processes);
    return sum;
}

/* Processor time that all processes of the server have used; one that is gone counts nothing. */
static uint64_t server_cpu_time(void) {
    uint64_t sum = 0;
    for (int i = 0; i < server_process_count; i++) {
        sum += cpu_time_of(server_processes[i]);
        if (children_count) sum += cpu_time_of_children(server_processes[i]);
    }
    return sum;
}

/* "12,13" */
static void read_server_processes(const char *list) {
    while (*list && server_process_count < MOST_PROCESSES) {
        char *end;
        server_processes[server_process_count++] = (pid_t)strtol(list, &end, 10);
        list = *end == ',' ? end + 1 : end;
        if (end == list && *end) break;
    }
}

/* What stood on the counters at one moment. */
struct reading {
    uint64_t time, done, client_cpu, server_cpu;
};

static struct reading take_reading(uint64_t done) {
    struct reading r = {time_now(), done, read_clock(CLOCK_PROCESS_CPUTIME_ID), server_cpu_time()};
    return r;
}

/* Latencies in nanoseconds, 64 steps to each power of two: a quantile is right within 1.6 %. */
enum { STEPS = 64, POWERS = 40 };
static uint64_t latencies[STEPS * POWERS];

static void record_latency(uint64_t nanoseconds) {
    if (nanoseconds < STEPS) nanoseconds = STEPS;
    int power = 63 - __builtin_clzll(nanoseconds) - 6;
    size_t slot = (size_t)power * STEPS + (size_t)(nanoseconds >> power) - STEPS;
    latencies[slot < STEPS * POWERS ? slot : STEPS * POWERS - 1]++;
}

/* In microseconds; 0 when nothing was recorded. */
static double latency_quantile(double part) {
    uint64_t count = 0, seen = 0;
    for (size_t i = 0; i < STEPS * POWERS; i++) count += latencies[i];
    for (size_t i = 0; i < STEPS * POWERS && count; i++) {
        seen += latencies[i];
        if ((double)seen >= part * (double)count) return (double)((i % STEPS + STEPS) << (i / STEPS)) / 1000.0;
    }
    return 0;
}

#endif

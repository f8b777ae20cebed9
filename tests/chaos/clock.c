/* The wall clock of one process group, shifted: LD_PRELOAD this and name a table by CHAOS_CLOCK.
   The table is 64 pairs of 64-bit numbers: process group, seconds. The monotonic clock stays as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 64
struct slot { volatile int64_t group, seconds; };
static const struct slot *table;
static int (*real_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("CHAOS_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *found = mmap(NULL, SLOTS * sizeof(struct slot), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (found != MAP_FAILED) table = found;
}

static int64_t shift(void) {
    if (!table || !table[0].group) return 0;
    int64_t group = getpgrp();
    for (int i = 0; i < SLOTS && table[i].group; i++)
        if (table[i].group == group) return table[i].seconds;
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int code = real_gettime ? real_gettime(clock, now) : -1;
    if (!code && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return code;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec at;
    int code = clock_gettime(CLOCK_REALTIME, &at);
    if (!code && now) { now->tv_sec = at.tv_sec; now->tv_usec = at.tv_nsec / 1000; }
    return code;
}

time_t time(time_t *out) {
    struct timespec at;
    if (clock_gettime(CLOCK_REALTIME, &at)) return (time_t)-1;
    if (out) *out = at.tv_sec;
    return at.tv_sec;
}

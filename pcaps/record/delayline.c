// delayline: one link between two network namespaces, as a userspace process.
//
// In: two processes' network namespaces, a TAP name for each side, and the link's character. Out: two TAP devices;
// Ethernet frames written to one appear on the other after serialisation at the link rate, a fixed delay and a random
// jitter. Order is kept. A frame is lost at random, or when the queue in front of the link is longer than QUEUE_MS.
// HOPS routers are crossed: the TTL (hop limit) of IP packets falls by that many.
//
//   delayline PID_A TAP_A PID_B TAP_B DELAY_MS JITTER_MS RATE_MBIT LOSS_PERMILLE HOPS SEED
//
// Prints "up" when both devices exist. Ends with the process that started it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 8192, FRAME_MAX = 1600, QUEUE_MS = 180, BURST = 64 };
static const int64_t SECOND_NS = 1000000000LL;

struct frame {
    int length;
    int64_t deliver_at;
    uint8_t bytes[FRAME_MAX];
};

struct direction {
    int from, to;
    struct frame *ring;
    unsigned head, tail;
    int64_t link_free_at, last_delivery;
};

struct character {
    double delay_ns, jitter_ns, bits_per_ns, loss;
    int hops;
};

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND_NS + t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int open_tap(const char *pid, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/ns/net", pid);
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET)) die(path);
    close(ns);
    int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (tap < 0) die("/dev/net/tun");
    struct ifreq request;
    memset(&request, 0, sizeof request);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(tap, TUNSETIFF, &request)) die("TUNSETIFF");
    return tap;
}

// Returns 0 when the packet's time to live does not reach the other side.
static int cross_routers(uint8_t *frame, int length, int hops) {
    if (hops == 0 || length < 34) return 1;
    if (frame[12] == 0x08 && frame[13] == 0x00) {
        uint8_t *ip = frame + 14;
        if (ip[8] <= hops) return 0;
        ip[8] -= hops;
        // RFC 1624: the TTL is the high byte of its 16-bit word, so the checksum grows by hops << 8.
        uint32_t sum = ((uint32_t)ip[10] << 8 | ip[11]) + ((uint32_t)hops << 8);
        sum = (sum & 0xffff) + (sum >> 16);
        ip[10] = sum >> 8;
        ip[11] = sum & 0xff;
    } else if (frame[12] == 0x86 && frame[13] == 0xdd && length >= 54 && frame[20] != 58) {
        uint8_t *ip = frame + 14;
        if (ip[7] <= hops) return 0;
        ip[7] -= hops;
    }
    return 1;
}

static int64_t deliver_due(struct direction *d, int64_t now) {
    while (d->tail != d->head) {
        struct frame *f = &d->ring[d->tail % SLOTS];
        if (f->deliver_at > now) return f->deliver_at;
        if (write(d->to, f->bytes, f->length) < 0 && errno == EAGAIN) return now + SECOND_NS / 1000;
        d->tail++;
    }
    return INT64_MAX;
}

static void accept_frames(struct direction *d, const struct character *c) {
    for (int i = 0; i < BURST; i++) {
        uint8_t scratch[FRAME_MAX];
        int room = d->head - d->tail < SLOTS;
        struct frame *f = &d->ring[d->head % SLOTS];
        uint8_t *into = room ? f->bytes : scratch;
        int length = read(d->from, into, FRAME_MAX);
        if (length <= 0) return;
        int64_t now = now_ns();
        if (!room || drand48() < c->loss || !cross_routers(into, length, c->hops)) continue;
        if (d->link_free_at < now) d->link_free_at = now;
        if (d->link_free_at - now > QUEUE_MS * (SECOND_NS / 1000)) continue;
        d->link_free_at += (int64_t)(length * 8 / c->bits_per_ns);
        // Exponential jitter, cut at four times its mean.
        double wait = -log(1.0 - drand48());
        if (wait > 4) wait = 4;
        int64_t at = d->link_free_at + (int64_t)(c->delay_ns + wait * c->jitter_ns);
        if (at < d->last_delivery) at = d->last_delivery;
        d->last_delivery = f->deliver_at = at;
        f->length = length;
        d->head++;
    }
}

int main(int argc, char **argv) {
    if (argc != 11) {
        fprintf(stderr, "usage: delayline PID_A TAP_A PID_B TAP_B DELAY_MS JITTER_MS RATE_MBIT LOSS_PERMILLE HOPS SEED\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int a = open_tap(argv[1], argv[2]), b = open_tap(argv[3], argv[4]);
    struct character c = {atof(argv[5]) * 1e6, atof(argv[6]) * 1e6, atof(argv[7]) / 1e3, atof(argv[8]) / 1e3, atoi(argv[9])};
    srand48(atol(argv[10]));
    struct direction d[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
    for (int i = 0; i < 2; i++)
        if (!(d[i].ring = calloc(SLOTS, sizeof(struct frame)))) die("calloc");
    printf("up\n");
    fflush(stdout);
    for (;;) {
        int64_t now = now_ns(), next = now + SECOND_NS;
        for (int i = 0; i < 2; i++) {
            int64_t due = deliver_due(&d[i], now);
            if (due < next) next = due;
        }
        int64_t wait = next - now_ns();
        if (wait < 0) wait = 0;
        struct timespec timeout = {wait / SECOND_NS, wait % SECOND_NS};
        struct pollfd ready[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
        ppoll(ready, 2, &timeout, NULL);
        for (int i = 0; i < 2; i++)
            if (ready[i].revents & POLLIN) accept_frames(&d[i], &c);
    }
}

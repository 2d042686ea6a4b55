/* A closed-loop load generator for echo servers over TLS: every connection sends one message, waits until the same bytes
 * are back, and sends the next. One thread, one epoll, OpenSSL over the sockets.
 *
 *     c_tls_client --tcp HOST:PORT [--connections N] [--size BYTES] [--warmup S] [--seconds S] [--core N] [--cpu-of PID]
 *                  [--handshakes]
 *
 * With --handshakes a message is a whole connection: connecting, a full handshake (no session is used again), one echo,
 * and the end. The certificate of the server is not verified.
 *
 * Output: one line of JSON, with the keys of loadgen. Exit status: 0 measured, 1 could not run, 2 wrong bytes came back.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 256, NANOS_PER_S = 1000000000, SAMPLES = 1 << 22 };

struct connection {
    SSL *tls;
    int fd;
    size_t sent, received;
    bool is_watched_for_room;
    /* The first byte of the message, another one for each. */
    uint8_t first;
    uint64_t started_ns;
};

static struct {
    struct sockaddr_in server;
    size_t connections, size;
    double warmup_s, seconds;
    int core;
    pid_t cpu_of;
    bool handshakes;
} options = {.connections = 100, .size = 1024, .warmup_s = 0.5, .seconds = 3, .core = -1};

static SSL_CTX *context;
static int epoll;
static uint8_t *message, *scratch;
static uint32_t *latencies_ns;
static size_t messages, errors;
static bool is_measuring;

static void fail(const char *doing) {
    fprintf(stderr, "c_tls_client: %s: %s\n", doing, strerror(errno));
    exit(1);
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) fail("clock_gettime");
    return (uint64_t)now.tv_sec * NANOS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t server_cpu_ns(void) {
    clockid_t clock;
    if (options.cpu_of == 0) return 0;
    if (clock_getcpuclockid(options.cpu_of, &clock) != 0) fail("server's CPU clock");
    return clock_ns(clock);
}

static void start_message(struct connection *connection) {
    connection->sent = connection->received = 0;
    connection->first++;
    connection->started_ns = clock_ns(CLOCK_MONOTONIC);
}

static void open_connection(struct connection *connection) {
    const int yes = 1;
    connection->started_ns = clock_ns(CLOCK_MONOTONIC);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) fail("socket");
    if (connect(connection->fd, (struct sockaddr *)&options.server, sizeof options.server) != 0) fail("connect");
    if (setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0) fail("TCP_NODELAY");
    if (fcntl(connection->fd, F_SETFL, O_NONBLOCK) != 0) fail("O_NONBLOCK");
    connection->tls = SSL_new(context);
    if (connection->tls == NULL || SSL_set_fd(connection->tls, connection->fd) != 1) fail("SSL_new");
    SSL_set_connect_state(connection->tls);
    connection->sent = connection->received = 0;
    connection->is_watched_for_room = false;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0) fail("epoll_ctl");
}

static void end_connection(struct connection *connection) {
    SSL_shutdown(connection->tls);
    ERR_clear_error();
    SSL_free(connection->tls);
    /* The server ends its side later; a closed port that waits for that would be one of 28,000. */
    const struct linger none = {.l_onoff = 1, .l_linger = 0};
    if (options.handshakes) setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(connection->fd);
}

static void watch(struct connection *connection, bool for_room) {
    if (connection->is_watched_for_room == for_room) return;
    connection->is_watched_for_room = for_room;
    struct epoll_event event = {.events = EPOLLIN | (for_room ? EPOLLOUT : 0), .data.ptr = connection};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event) != 0) fail("epoll_ctl");
}

/* Sends as much of the message as there is room for; false when the connection is lost. */
static bool send_message(struct connection *connection) {
    while (connection->sent < options.size) {
        const uint8_t *data = message + connection->first + connection->sent;
        ERR_clear_error();
        const int count = SSL_write(connection->tls, data, (int)(options.size - connection->sent));
        if (count > 0) {
            connection->sent += (size_t)count;
            continue;
        }
        const int error = SSL_get_error(connection->tls, count);
        if (error != SSL_ERROR_WANT_WRITE && error != SSL_ERROR_WANT_READ) return false;
        watch(connection, error == SSL_ERROR_WANT_WRITE);
        return true;
    }
    watch(connection, false);
    return true;
}

/* Reads what is there; false when the connection is lost. */
static bool receive(struct connection *connection) {
    for (;;) {
        ERR_clear_error();
        const int count = SSL_read(connection->tls, scratch, (int)options.size + 1);
        if (count <= 0) {
            const int error = SSL_get_error(connection->tls, count);
            return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
        }
        const size_t due = options.size - connection->received;
        const uint8_t *expected = message + connection->first + connection->received;
        if ((size_t)count > due || memcmp(scratch, expected, (size_t)count) != 0) {
            fprintf(stderr, "c_tls_client: bytes came back that were not sent\n");
            exit(2);
        }
        connection->received += (size_t)count;
        if (connection->received < options.size) continue;
        if (is_measuring) {
            const uint64_t taken_ns = clock_ns(CLOCK_MONOTONIC) - connection->started_ns;
            latencies_ns[messages++ % SAMPLES] = taken_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)taken_ns;
        }
        if (options.handshakes) {
            end_connection(connection);
            open_connection(connection);
        } else {
            start_message(connection);
        }
        return send_message(connection);
    }
}

static void on_event(struct connection *connection) {
    /* A read goes on with the handshake, too. */
    if (receive(connection) && send_message(connection)) return;
    errors++;
    end_connection(connection);
    open_connection(connection);
    send_message(connection);
}

static int compare(const void *one, const void *other) {
    const uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static double percentile_us(size_t count, double part) {
    if (count == 0) return 0;
    const size_t index = (size_t)(part * (double)count);
    return latencies_ns[index < count ? index : count - 1] / 1e3;
}

static void run_for(double seconds) {
    const uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds * NANOS_PER_S);
    struct epoll_event events[BATCH];
    while (clock_ns(CLOCK_MONOTONIC) < end_ns) {
        const int count = epoll_wait(epoll, events, BATCH, 50);
        if (count < 0 && errno != EINTR) fail("epoll_wait");
        for (int index = 0; index < count; index++) on_event(events[index].data.ptr);
    }
}

static void parse(int count, char **arguments) {
    options.server.sin_family = AF_INET;
    for (int index = 1; index < count; index++) {
        const char *name = arguments[index];
        if (strcmp(name, "--handshakes") == 0) {
            options.handshakes = true;
            continue;
        }
        char *value = index + 1 < count ? arguments[++index] : "";
        if (strcmp(name, "--tcp") == 0) {
            char *port = strrchr(value, ':');
            if (port == NULL) break;
            *port++ = 0;
            options.server.sin_port = htons((uint16_t)atoi(port));
            if (inet_pton(AF_INET, value, &options.server.sin_addr) != 1) break;
        } else if (strcmp(name, "--connections") == 0) {
            options.connections = strtoul(value, NULL, 10);
        } else if (strcmp(name, "--size") == 0) {
            options.size = strtoul(value, NULL, 10);
        } else if (strcmp(name, "--warmup") == 0) {
            options.warmup_s = atof(value);
        } else if (strcmp(name, "--seconds") == 0) {
            options.seconds = atof(value);
        } else if (strcmp(name, "--core") == 0) {
            options.core = atoi(value);
        } else if (strcmp(name, "--cpu-of") == 0) {
            options.cpu_of = atoi(value);
        } else {
            fprintf(stderr, "c_tls_client: no option %s\n", name);
            exit(1);
        }
    }
    if (options.server.sin_port == 0 || options.connections == 0 || options.size == 0) {
        fprintf(stderr, "c_tls_client: --tcp HOST:PORT, and at least one connection and byte, are needed\n");
        exit(1);
    }
}

int main(int count, char **arguments) {
    parse(count, arguments);
    signal(SIGPIPE, SIG_IGN);
    if (options.core >= 0) {
        cpu_set_t cores;
        CPU_ZERO(&cores);
        CPU_SET((size_t)options.core, &cores);
        if (sched_setaffinity(0, sizeof cores, &cores) != 0) fail("pinning to the core");
    }
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) fail("SSL_CTX_new");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    message = malloc(options.size + 256);
    scratch = malloc(options.size + 1);
    latencies_ns = malloc(SAMPLES * sizeof *latencies_ns);
    struct connection *connections = calloc(options.connections, sizeof *connections);
    if (epoll < 0 || message == NULL || scratch == NULL || latencies_ns == NULL || connections == NULL) fail("memory");
    /* A period that is no power of two: no two places of a message within a record hold the same bytes. */
    for (size_t index = 0; index < options.size + 256; index++) message[index] = (uint8_t)(index % 251);

    for (size_t index = 0; index < options.connections; index++) {
        open_connection(&connections[index]);
        send_message(&connections[index]);
    }
    run_for(options.warmup_s);
    const uint64_t wall_ns = clock_ns(CLOCK_MONOTONIC), own_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    const uint64_t server_ns = server_cpu_ns();
    is_measuring = true;
    run_for(options.seconds);
    is_measuring = false;
    const double server_s = (double)(server_cpu_ns() - server_ns) / NANOS_PER_S;
    const double own_s = (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own_ns) / NANOS_PER_S;
    const double seconds = (double)(clock_ns(CLOCK_MONOTONIC) - wall_ns) / NANOS_PER_S;

    const size_t kept = messages < SAMPLES ? messages : SAMPLES;
    qsort(latencies_ns, kept, sizeof *latencies_ns, compare);
    printf("{\"connections\": %zu, \"size\": %zu, \"messages\": %zu, \"seconds\": %.6f, \"messages_per_s\": %.1f, "
           "\"p50_us\": %.3f, \"p99_us\": %.3f, \"p999_us\": %.3f, \"max_us\": %.3f, \"errors\": %zu, "
           "\"client_cpu_s\": %.6f, \"server_cpu_s\": %.6f}\n",
           options.connections, options.size, messages, seconds, (double)messages / seconds, percentile_us(kept, 0.5),
           percentile_us(kept, 0.99), percentile_us(kept, 0.999), percentile_us(kept, 1), errors, own_s, server_s);
    return 0;
}

/* The limit: an echo server in C on level-triggered epoll, one thread, no layers.
 *
 *     c_epoll_echo [--core N] [--unix PATH]
 *
 * Prints "port N" (or "path PATH") when it listens, and serves until a signal ends it. What the kernel takes only in part
 * is kept by the connection and sent when there is room; until then the connection is not read, which is all the flow
 * control an echo needs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, BATCH = 1024 };

/* Present only while bytes wait for room in the kernel. */
struct pending {
    size_t length, sent;
    char bytes[];
};

struct connection {
    int descriptor;
    struct pending *pending;
};

static void fail(const char *doing) {
    perror(doing);
    exit(1);
}

static void watch(int epoll, int operation, struct connection *connection, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(epoll, operation, connection->descriptor, &event) != 0) fail("epoll_ctl");
}

static int listen_on(const char *path) {
    int listener;
    if (path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        if (strlen(path) >= sizeof address.sun_path) {
            fprintf(stderr, "%s: too long for a Unix socket\n", path);
            exit(1);
        }
        strcpy(address.sun_path, path);
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
        if (listen(listener, 4096) != 0) fail("listen");
        printf("path %s\n", path);
    } else {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof address;
        listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
        if (listen(listener, 4096) != 0) fail("listen");
        if (getsockname(listener, (struct sockaddr *)&address, &length) != 0) fail("getsockname");
        printf("port %d\n", ntohs(address.sin_port));
    }
    fflush(stdout);
    return listener;
}

static void accept_all(int epoll, int listener, int tcp) {
    for (;;) {
        int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor < 0) return;
        if (tcp) setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct connection *connection = calloc(1, sizeof *connection);
        if (!connection) fail("calloc");
        connection->descriptor = descriptor;
        watch(epoll, EPOLL_CTL_ADD, connection, EPOLLIN);
    }
}

static void end(struct connection *connection) {
    close(connection->descriptor);
    free(connection->pending);
    free(connection);
}

/* Sends what waits; 0 when the connection is lost. */
static int send_pending(int epoll, struct connection *connection) {
    struct pending *pending = connection->pending;
    ssize_t sent = send(connection->descriptor, pending->bytes + pending->sent, pending->length - pending->sent,
                        MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    pending->sent += (size_t)sent;
    if (pending->sent == pending->length) {
        free(pending);
        connection->pending = NULL;
        watch(epoll, EPOLL_CTL_MOD, connection, EPOLLIN);
    }
    return 1;
}

/* Reads once and sends it back; 0 when the connection is lost or ended. */
static int echo(int epoll, struct connection *connection, char *buffer) {
    ssize_t received = recv(connection->descriptor, buffer, READ_BYTES, 0);
    if (received <= 0) return received < 0 && (errno == EAGAIN || errno == EINTR);
    ssize_t sent = send(connection->descriptor, buffer, (size_t)received, MSG_NOSIGNAL);
    if (sent == received) return 1;
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return 0;
    size_t left = (size_t)(received - (sent < 0 ? 0 : sent));
    struct pending *pending = malloc(sizeof *pending + left);
    if (!pending) fail("malloc");
    *pending = (struct pending){.length = left};
    memcpy(pending->bytes, buffer + ((size_t)received - left), left);
    connection->pending = pending;
    watch(epoll, EPOLL_CTL_MOD, connection, EPOLLOUT);
    return 1;
}

int main(int argc, char **argv) {
    const char *path = NULL;
    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--core") == 0) {
            cpu_set_t cores;
            CPU_ZERO(&cores);
            CPU_SET(atoi(argv[++i]), &cores);
            if (sched_setaffinity(0, sizeof cores, &cores) != 0) fail("sched_setaffinity");
        } else if (i + 1 < argc && strcmp(argv[i], "--unix") == 0) {
            path = argv[++i];
        } else {
            fprintf(stderr, "usage: %s [--core N] [--unix PATH]\n", argv[0]);
            return 1;
        }
    }
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) != 0) fail("getrlimit");
    descriptors.rlim_cur = descriptors.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &descriptors) != 0) fail("setrlimit");
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) fail("epoll_create1");
    struct connection listener = {.descriptor = listen_on(path)};
    watch(epoll, EPOLL_CTL_ADD, &listener, EPOLLIN);

    static char buffer[READ_BYTES];
    static struct epoll_event events[BATCH];
    for (;;) {
        int count = epoll_wait(epoll, events, BATCH, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == &listener) {
                accept_all(epoll, listener.descriptor, path == NULL);
            } else {
                int alive = connection->pending ? send_pending(epoll, connection) : echo(epoll, connection, buffer);
                if (!alive) end(connection);
            }
        }
    }
}

/* The limit over TLS: an echo server in C on level-triggered epoll, one thread, OpenSSL over memory.
 *
 *     c_tls_echo [--core N] [--tls]
 *
 * Prints "port N" when it listens, and serves until a signal ends it. The certificate is made at the start. As in `_ssl`,
 * a connection that has nothing under way holds no buffers for records. What has come is received at once, read record by
 * record, written back in one piece, and sent at once. What the kernel takes only in part stays in the memory of the
 * connection; until it is sent the connection is not read. --tls changes nothing: it is there for the callers of
 * echo_server.py.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of a record that came in parts, the first ones may have been received before. */
enum { READ_BYTES = 256 * 1024, PLAIN_BYTES = READ_BYTES + 32 * 1024, BATCH = 1024, SECONDS_PER_DAY = 86400 };

struct connection {
    int descriptor;
    SSL *tls;
    BIO *incoming, *outgoing;
    int is_sending;
};

static char received[READ_BYTES], plain[PLAIN_BYTES];

static void fail(const char *doing) {
    perror(doing);
    exit(1);
}

static void demand(int holds, const char *doing) {
    if (holds) return;
    fprintf(stderr, "%s\n", doing);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static SSL_CTX *make_context(void) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    demand(key && certificate, "making a key");
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), SECONDS_PER_DAY);
    X509_NAME *name = X509_NAME_new();
    demand(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0), "name");
    demand(X509_set_subject_name(certificate, name) && X509_set_issuer_name(certificate, name), "names");
    X509_NAME_free(name);
    demand(X509_set_pubkey(certificate, key) && X509_sign(certificate, key, EVP_sha256()), "signing");
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    demand(context && SSL_CTX_use_certificate(context, certificate) && SSL_CTX_use_PrivateKey(context, key), "context");
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return context;
}

static void watch(int epoll, int operation, struct connection *connection, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(epoll, operation, connection->descriptor, &event) != 0) fail("epoll_ctl");
}

static int listen_here(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
    if (listen(listener, 4096) != 0) fail("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &length) != 0) fail("getsockname");
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void accept_all(int epoll, int listener, SSL_CTX *context) {
    for (;;) {
        int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor < 0) return;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct connection *connection = calloc(1, sizeof *connection);
        if (!connection) fail("calloc");
        *connection = (struct connection){descriptor, SSL_new(context), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()), 0};
        demand(connection->tls && connection->incoming && connection->outgoing, "making a connection");
        SSL_set_bio(connection->tls, connection->incoming, connection->outgoing);
        SSL_set_accept_state(connection->tls);
        watch(epoll, EPOLL_CTL_ADD, connection, EPOLLIN);
    }
}

static void end(struct connection *connection) {
    close(connection->descriptor);
    SSL_free(connection->tls);
    free(connection);
}

/* Sends what waits; 0 when the connection is lost. */
static int send_outgoing(int epoll, struct connection *connection) {
    char *data;
    long length = BIO_get_mem_data(connection->outgoing, &data);
    if (length > 0) {
        ssize_t sent = send(connection->descriptor, data, (size_t)length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) return 0;
        if (sent == length) {
            BIO_reset(connection->outgoing);
        } else if (sent > 0) {
            /* `plain` holds nothing between two steps. */
            for (ssize_t left = sent; left > 0;) {
                int taken = BIO_read(connection->outgoing, plain, left > PLAIN_BYTES ? PLAIN_BYTES : (int)left);
                if (taken <= 0) return 0;
                left -= taken;
            }
        }
    }
    int is_sending = BIO_ctrl_pending(connection->outgoing) != 0;
    if (is_sending != connection->is_sending) watch(epoll, EPOLL_CTL_MOD, connection, is_sending ? EPOLLOUT : EPOLLIN);
    connection->is_sending = is_sending;
    return 1;
}

/* Receives once and sends back what was in it; 0 when the connection is lost or ended. */
static int echo(int epoll, struct connection *connection) {
    ssize_t length = recv(connection->descriptor, received, READ_BYTES, 0);
    if (length <= 0) return length < 0 && (errno == EAGAIN || errno == EINTR);
    if (BIO_write(connection->incoming, received, (int)length) != length) return 0;
    int filled = 0, count;
    ERR_clear_error();
    do {
        count = SSL_read(connection->tls, plain + filled, PLAIN_BYTES - filled);
        if (count <= 0) break;
        filled += count;
    } while (filled < PLAIN_BYTES && (BIO_ctrl_pending(connection->incoming) || SSL_pending(connection->tls)));
    if (count <= 0 && SSL_get_error(connection->tls, count) != SSL_ERROR_WANT_READ) return 0;
    if (filled > 0 && SSL_write(connection->tls, plain, filled) != filled) return 0;
    return send_outgoing(epoll, connection);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--core") == 0) {
            cpu_set_t cores;
            CPU_ZERO(&cores);
            CPU_SET(atoi(argv[++i]), &cores);
            if (sched_setaffinity(0, sizeof cores, &cores) != 0) fail("sched_setaffinity");
        } else if (strcmp(argv[i], "--tls") != 0) {
            fprintf(stderr, "usage: %s [--core N] [--tls]\n", argv[0]);
            return 1;
        }
    }
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) != 0) fail("getrlimit");
    descriptors.rlim_cur = descriptors.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &descriptors) != 0) fail("setrlimit");
    SSL_CTX *context = make_context();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) fail("epoll_create1");
    struct connection listener = {.descriptor = listen_here()};
    watch(epoll, EPOLL_CTL_ADD, &listener, EPOLLIN);

    static struct epoll_event events[BATCH];
    for (;;) {
        int count = epoll_wait(epoll, events, BATCH, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == &listener) {
                accept_all(epoll, listener.descriptor, context);
            } else {
                int alive = connection->is_sending ? send_outgoing(epoll, connection) : echo(epoll, connection);
                if (!alive) end(connection);
            }
        }
    }
}

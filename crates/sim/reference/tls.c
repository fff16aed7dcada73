/* The reference for the client's memory: one verified TLS connection and one GET, with the same library, versions and
 * suites as omadm-client, and nothing else. Then it waits for the end of its input, so that its memory can be looked at.
 * Usage: tls HOST PORT CAFILE PATH AUTHORIZATION */
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(const char *what) {
    fprintf(stderr, "failed: %s\n", what);
    ERR_print_errors_fp(stderr);
    return 1;
}

static int dial(const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *one;
    int sock = -1;
    if (getaddrinfo(host, port, &hints, &found) != 0) return -1;
    for (one = found; one != NULL && sock < 0; one = one->ai_next) {
        sock = socket(one->ai_family, one->ai_socktype, 0);
        if (sock >= 0 && connect(sock, one->ai_addr, one->ai_addrlen) != 0) {
            close(sock);
            sock = -1;
        }
    }
    freeaddrinfo(found);
    return sock;
}

int main(int count, char **args) {
    char request[4096], answer[16384];
    int length, total = 0;
    if (count != 6) return fail("usage: tls HOST PORT CAFILE PATH AUTHORIZATION");
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) return fail("a context");
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(context, args[3], NULL) != 1) return fail("the anchors");
    int sock = dial(args[1], args[2]);
    if (sock < 0) return fail("a connection");
    SSL *tls = SSL_new(context);
    if (tls == NULL || SSL_set_fd(tls, sock) != 1 || SSL_set1_host(tls, args[1]) != 1 ||
        SSL_set_tlsext_host_name(tls, args[1]) != 1 || SSL_connect(tls) != 1)
        return fail("the handshake");
    length = snprintf(request, sizeof request,
                      "GET %s HTTP/1.1\r\nHost: %s:%s\r\nAccept: application/vnd.oma.dm.bootstrap+json\r\n"
                      "Authorization: %s\r\nConnection: close\r\n\r\n",
                      args[4], args[1], args[2], args[5]);
    if (length >= (int)sizeof request || SSL_write(tls, request, length) != length) return fail("the request");
    while ((length = SSL_read(tls, answer, sizeof answer)) > 0) {
        if (total == 0 && (length < 12 || strncmp(answer + 9, "200", 3) != 0)) return fail("the answer");
        total += length;
    }
    SSL_shutdown(tls);
    printf("%d\n", total);
    fflush(stdout);
    while (read(0, answer, sizeof answer) > 0) {
    }
    return 0;
}

/* A C program that runs two nodes in one loop over poll(2): one sends 64 MiB, the other sends them back.
 *
 * cargo build -p drywire-c-host
 * cc -Wall -Wextra -Werror -Iexamples/c-host/include examples/c-host/host.c target/debug/libdrywire_c_host.a \
 *    -lpthread -ldl -lm -o host && ./host */
#define _POSIX_C_SOURCE 200809L
#include "drywire_example.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

#define PROTOCOL "/drywire/examples/echo/1.0.0"
#define TOTAL (64ull * 1024 * 1024)
#define CONNECTIONS 64
#define CHUNK (64 * 1024)
#define ROUNDS 4 /* reads and writes of one socket before others get theirs */
#define MILLISECOND 1000000ull
#define LINGER (3000 * MILLISECOND)
#define UNREAD (10000 * MILLISECOND)
#define REST (100 * MILLISECOND)

enum state { UNUSED, CONNECTING, OPEN, LINGERING };

struct wire {
    enum state state;
    int fd;        /* -1: closed, while the application has not read everything */
    short revents; /* what poll(2) said of this socket, not of one that had this place before */
    uint64_t id;   /* of the attempt while connecting, then of the connection */
    int last, shut, ended;
    uint64_t over_since;
    uint8_t *unread; /* read, and not yet taken */
    size_t unread_at, unread_len;
};

struct loop {
    drywire_node *node;
    int listener; /* -1: none */
    uint64_t listener_id, rest_until;
    int accept_paused, finished;
    drywire_ipv4 bound;
    struct wire wires[CONNECTIONS];
    void (*handle)(struct loop *, const drywire_event *);
};

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static int64_t check(int32_t status) {
    if (status == DRYWIRE_PANICKED || status == DRYWIRE_BAD_ARGUMENT) fail("misused, or a bug");
    return status;
}

static int non_blocking(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static struct sockaddr_in to_socket(drywire_ipv4 address) {
    struct sockaddr_in socket;
    memset(&socket, 0, sizeof socket);
    socket.sin_family = AF_INET;
    socket.sin_port = htons(address.port);
    memcpy(&socket.sin_addr, address.ip, 4);
    return socket;
}

static drywire_ipv4 from_socket(const struct sockaddr_in *socket) {
    drywire_ipv4 address;
    memcpy(address.ip, &socket->sin_addr, 4);
    address.port = ntohs(socket->sin_port);
    return address;
}

/* ---- sockets ---- */

static struct wire *unused(struct loop *loop) {
    for (int i = 0; i < CONNECTIONS; i++)
        if (loop->wires[i].state == UNUSED) return &loop->wires[i];
    return NULL;
}

static struct wire *find(struct loop *loop, int connecting, uint64_t id) {
    for (int i = 0; i < CONNECTIONS; i++) {
        struct wire *wire = &loop->wires[i];
        if (wire->state != UNUSED && (wire->state == CONNECTING) == connecting && wire->id == id) return wire;
    }
    return NULL;
}

static void use(struct wire *wire, enum state state, int fd, uint64_t id) {
    memset(wire, 0, sizeof *wire);
    wire->state = state;
    wire->fd = fd;
    wire->id = id;
}

static void discard(struct wire *wire) {
    if (wire->fd >= 0) close(wire->fd);
    free(wire->unread);
    memset(wire, 0, sizeof *wire);
}

static void dial(struct loop *loop, const drywire_action *action) {
    struct sockaddr_in remote = to_socket(action->address);
    struct wire *wire = unused(loop);
    int fd = wire ? socket(AF_INET, SOCK_STREAM, 0) : -1;
    if (fd >= 0 && non_blocking(fd) == 0 &&
        (connect(fd, (struct sockaddr *)&remote, sizeof remote) == 0 || errno == EINPROGRESS)) {
        use(wire, CONNECTING, fd, action->id); /* writable when it is known what came of it */
        return;
    }
    if (fd >= 0) close(fd);
    uint64_t none;
    check(drywire_handle_dialed(loop->node, now(), action->id, 0, &none));
}

static void finish_dial(struct loop *loop, struct wire *wire) {
    int error = 0;
    socklen_t len = sizeof error;
    int connected = getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
    uint64_t connection;
    if (check(drywire_handle_dialed(loop->node, now(), wire->id, connected, &connection)) == DRYWIRE_OK)
        use(wire, OPEN, wire->fd, connection);
    else
        discard(wire);
}

static void start_listening(struct loop *loop, const drywire_action *action) {
    struct sockaddr_in local = to_socket(action->address);
    socklen_t len = sizeof local;
    int fd = loop->listener < 0 ? socket(AF_INET, SOCK_STREAM, 0) : -1, on = 1;
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && non_blocking(fd) == 0 &&
        bind(fd, (struct sockaddr *)&local, len) == 0 && listen(fd, 1024) == 0 &&
        getsockname(fd, (struct sockaddr *)&local, &len) == 0) {
        drywire_ipv4 bound = from_socket(&local);
        loop->listener = fd;
        loop->listener_id = action->id;
        check(drywire_handle_listening(loop->node, now(), action->id, &bound));
        return;
    }
    if (fd >= 0) close(fd);
    check(drywire_handle_listening(loop->node, now(), action->id, NULL));
}

static void accept_some(struct loop *loop) {
    for (int i = 0; i < 32; i++) {
        struct sockaddr_in remote;
        socklen_t len = sizeof remote;
        int fd = accept(loop->listener, (struct sockaddr *)&remote, &len);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED || errno == ECONNRESET) continue; /* that one is gone */
            /* No descriptors left, no memory: it stays readable, so it must rest. */
            if (errno != EAGAIN && errno != EWOULDBLOCK) loop->rest_until = now() + REST;
            return;
        }
        drywire_ipv4 address = from_socket(&remote);
        struct wire *wire = unused(loop);
        uint64_t connection;
        if (wire && non_blocking(fd) == 0 &&
            check(drywire_handle_accepted(loop->node, now(), &address, &connection)) == DRYWIRE_OK)
            use(wire, OPEN, fd, connection);
        else
            close(fd);
    }
}

static void lost(struct loop *loop, struct wire *wire) {
    wire->ended = 1;
    check(drywire_handle_lost(loop->node, now(), wire->id));
}

/* Reads while there is room; whether there may be more. */
static int read_some(struct loop *loop, struct wire *wire) {
    static uint8_t buffer[CHUNK];
    for (int i = 0; i < ROUNDS && !wire->ended && check(drywire_wants_input(loop->node, wire->id)) == 1; i++) {
        size_t taken = 0;
        if (wire->unread_len > 0) {
            check(drywire_handle_input(loop->node, now(), wire->id, wire->unread + wire->unread_at, wire->unread_len,
                                       &taken));
            wire->unread_at += taken;
            wire->unread_len -= taken;
            continue;
        }
        ssize_t count = recv(wire->fd, buffer, sizeof buffer, 0);
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) {
            lost(loop, wire);
        } else if (count == 0) {
            wire->ended = 1;
            check(drywire_handle_eof(loop->node, now(), wire->id));
        } else {
            check(drywire_handle_input(loop->node, now(), wire->id, buffer, (size_t)count, &taken));
            if (taken < (size_t)count) {
                if (!wire->unread && !(wire->unread = malloc(CHUNK))) fail("no memory");
                wire->unread_at = 0;
                wire->unread_len = (size_t)count - taken;
                memcpy(wire->unread, buffer + taken, wire->unread_len);
            }
        }
    }
    return !wire->ended && check(drywire_wants_input(loop->node, wire->id)) == 1;
}

/* Writes until the socket is full. */
static void write_some(struct loop *loop, struct wire *wire) {
    for (int i = 0; i < ROUNDS; i++) {
        const uint8_t *data;
        size_t len;
        int32_t last;
        check(drywire_poll_transmit(loop->node, now(), wire->id, &data, &len, &last));
        wire->last |= last;
        if (len == 0) {
            if (wire->last && !wire->shut) {
                shutdown(wire->fd, SHUT_WR);
                wire->shut = 1;
            }
            return;
        }
        ssize_t count = send(wire->fd, data, len, MSG_NOSIGNAL);
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) {
            wire->last = 0;
            /* What the peer had sent before it went is taken in first, though poll(2) may not have told of it. */
            for (int reads = 0; reads < 64 && read_some(loop, wire); reads++) continue;
            lost(loop, wire);
            return;
        }
        check(drywire_transmitted(loop->node, wire->id, (size_t)count));
    }
}

/* The connection is over: its last bytes go out, then the peer's end is awaited, for a socket closed with bytes unread is
 * reset, and that may overtake them. */
static void linger_on(struct loop *loop, struct wire *wire) {
    uint8_t discarded[4096];
    if (wire->last || check(drywire_wants_transmit(loop->node, wire->id)) == 1) write_some(loop, wire);
    for (int i = 0; i < 16 && !wire->ended; i++) {
        ssize_t count = recv(wire->fd, discarded, sizeof discarded, 0);
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) break;
        if (count <= 0) wire->ended = 1;
    }
    if (!wire->last || (wire->shut && wire->ended) || now() >= wire->over_since + LINGER) {
        close(wire->fd);
        wire->fd = -1;
    }
}

/* Then what the connection has brought may be read for a while. */
static void linger(struct loop *loop, struct wire *wire) {
    if (wire->fd >= 0) linger_on(loop, wire);
    if (wire->fd < 0 && (check(drywire_unread(loop->node, wire->id)) == 0 || now() >= wire->over_since + UNREAD)) {
        uint64_t id = wire->id;
        discard(wire);
        check(drywire_handle_closed(loop->node, now(), id));
    }
}

/* ---- the loop ---- */

static void act(struct loop *loop, const drywire_action *action) {
    struct wire *wire;
    switch (action->kind) {
    case DRYWIRE_ACTION_DIAL:
        dial(loop, action);
        break;
    case DRYWIRE_ACTION_CANCEL_DIAL:
        if ((wire = find(loop, 1, action->id))) discard(wire);
        break;
    case DRYWIRE_ACTION_LISTEN:
        start_listening(loop, action);
        break;
    case DRYWIRE_ACTION_STOP_LISTEN:
        if (loop->listener >= 0) close(loop->listener);
        loop->listener = -1;
        check(drywire_handle_listening(loop->node, now(), action->id, NULL));
        break;
    case DRYWIRE_ACTION_PAUSE_ACCEPT:
    case DRYWIRE_ACTION_RESUME_ACCEPT:
        loop->accept_paused = action->kind == DRYWIRE_ACTION_PAUSE_ACCEPT;
        break;
    case DRYWIRE_ACTION_CLOSE:
        if ((wire = find(loop, 0, action->id))) {
            wire->state = LINGERING;
            wire->over_since = now();
            linger(loop, wire);
        }
        break;
    default: /* DRYWIRE_ACTION_TRANSMIT: asked of each connection before poll(2) */
        break;
    }
}

/* Carries out all that is wanted, tells all that happened. */
static void settle(struct loop *loop) {
    for (;;) {
        drywire_event event;
        drywire_action action;
        if (check(drywire_poll_event(loop->node, &event)) == 1) {
            if (event.kind == DRYWIRE_EVENT_SHUTDOWN_COMPLETE) loop->finished = 1;
            loop->handle(loop, &event);
        } else if (check(drywire_poll_action(loop->node, now(), &action)) == 1) {
            act(loop, &action);
        } else {
            return;
        }
    }
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* What to wait for. A descriptor nothing is asked of must be -1: poll(2) would report its hang-up for ever. */
static nfds_t prepare(struct loop *loop, struct pollfd *fds, uint64_t *deadline) {
    uint64_t at;
    if (check(drywire_poll_timeout(loop->node, &at)) == 1) *deadline = earlier(*deadline, at);
    int rests = loop->rest_until > now();
    if (rests) *deadline = earlier(*deadline, loop->rest_until);
    fds[0].fd = loop->accept_paused || rests ? -1 : loop->listener;
    fds[0].events = POLLIN;
    for (int i = 0; i < CONNECTIONS; i++) {
        struct wire *wire = &loop->wires[i];
        short events = 0;
        if (wire->state == CONNECTING) {
            events = POLLOUT;
        } else if (wire->state == LINGERING && wire->fd >= 0) {
            events = (wire->ended ? 0 : POLLIN) | (wire->shut ? 0 : POLLOUT);
            *deadline = earlier(*deadline, wire->over_since + LINGER);
        } else if (wire->state == LINGERING) {
            int unread = check(drywire_unread(loop->node, wire->id)) == 1;
            *deadline = unread ? earlier(*deadline, wire->over_since + UNREAD) : 0;
        } else if (wire->state == OPEN) {
            int room = !wire->ended && check(drywire_wants_input(loop->node, wire->id)) == 1;
            if (room && wire->unread_len > 0) *deadline = 0;
            events = (room ? POLLIN : 0) | (check(drywire_wants_transmit(loop->node, wire->id)) == 1 ? POLLOUT : 0);
        }
        fds[i + 1].fd = events ? wire->fd : -1;
        fds[i + 1].events = events;
    }
    return CONNECTIONS + 1;
}

static void serve(struct loop *loop, const struct pollfd *fds) {
    check(drywire_handle_timeout(loop->node, now()));
    for (int i = 0; i < CONNECTIONS; i++) loop->wires[i].revents = fds[i + 1].fd >= 0 ? fds[i + 1].revents : 0;
    if (fds[0].fd >= 0 && fds[0].revents) accept_some(loop);
    for (int i = 0; i < CONNECTIONS; i++) {
        struct wire *wire = &loop->wires[i];
        int ready = wire->revents != 0;
        if (wire->state == CONNECTING && ready) {
            finish_dial(loop, wire);
        } else if (wire->state == LINGERING) {
            linger(loop, wire);
        } else if (wire->state == OPEN && (ready || wire->unread_len > 0)) {
            read_some(loop, wire);
            settle(loop); /* what the application answers joins what is transmitted below */
            if (wire->state == OPEN) write_some(loop, wire);
        }
        settle(loop);
    }
}

static void run(struct loop *first, struct loop *second) {
    struct pollfd fds[2 * (CONNECTIONS + 1)];
    settle(first);
    settle(second);
    while (!first->finished || !second->finished) {
        uint64_t deadline = UINT64_MAX, start;
        nfds_t count = prepare(first, fds, &deadline);
        count += prepare(second, fds + count, &deadline);
        int timeout = -1;
        if (deadline != UINT64_MAX) {
            start = now();
            uint64_t wait = deadline > start ? (deadline - start + MILLISECOND - 1) / MILLISECOND : 0;
            timeout = wait > 3600000 ? 3600000 : (int)wait;
        }
        if (poll(fds, count, timeout) < 0) {
            if (errno != EINTR) fail("poll");
            continue;
        }
        serve(first, fds);
        serve(second, fds + CONNECTIONS + 1);
    }
}

static void start(struct loop *loop, void (*handle)(struct loop *, const drywire_event *)) {
    uint8_t entropy[32];
    FILE *source = fopen("/dev/urandom", "rb");
    if (!source || fread(entropy, 1, sizeof entropy, source) != sizeof entropy) fail("no entropy");
    fclose(source);
    memset(loop, 0, sizeof *loop);
    loop->listener = -1;
    loop->handle = handle;
    if (check(drywire_node_new(entropy, now(), (uint64_t)time(NULL), &loop->node)) != DRYWIRE_OK) fail("no node");
}

/* ---- the application: everything goes there and back ---- */

static struct { /* the server's end */
    uint8_t chunk[CHUNK];
    size_t at, len;
} echo;

static struct { /* the client's */
    int is_open;
    uint64_t stream, sent, received, state, sum_sent, sum_received;
    uint8_t chunk[CHUNK];
    size_t at, len;
    int done;
} upload = {.state = 0x9e3779b97f4a7c15ull, .sum_sent = 0xcbf29ce484222325ull, .sum_received = 0xcbf29ce484222325ull};

static void checksum(uint64_t *sum, const uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) *sum = (*sum ^ bytes[i]) * 0x100000001b3ull;
}

/* Reads and writes until one of both is blocked: then an event follows. */
static void echo_advance(struct loop *loop, uint64_t connection, uint64_t stream) {
    for (;;) {
        size_t count;
        while (echo.len > 0) {
            if (check(drywire_stream_write(loop->node, connection, stream, echo.chunk + echo.at, echo.len, &count)) < 0)
                return;
            echo.at += count;
            echo.len -= count;
        }
        if (check(drywire_stream_read(loop->node, connection, stream, echo.chunk, CHUNK, &count)) < 0) return;
        if (count == 0) {
            check(drywire_stream_finish(loop->node, connection, stream));
            return;
        }
        echo.at = 0;
        echo.len = count;
    }
}

static void server(struct loop *loop, const drywire_event *event) {
    switch (event->kind) {
    case DRYWIRE_EVENT_LISTENING:
        loop->bound = event->address;
        break;
    case DRYWIRE_EVENT_INBOUND:
    case DRYWIRE_EVENT_READABLE:
    case DRYWIRE_EVENT_WRITABLE:
        echo_advance(loop, event->connection, event->stream);
        break;
    case DRYWIRE_EVENT_RESET:
        check(drywire_stream_release(loop->node, event->connection, event->stream));
        break;
    case DRYWIRE_EVENT_CLOSED: /* this server serves one client */
        check(drywire_shutdown(loop->node, now()));
        break;
    default:
        break;
    }
}

static void upload_write(struct loop *loop, uint64_t connection) {
    for (;;) {
        size_t count;
        if (upload.len == 0) {
            if (upload.sent == TOTAL) {
                check(drywire_stream_finish(loop->node, connection, upload.stream));
                return;
            }
            for (size_t i = 0; i < CHUNK; i += 8) {
                upload.state ^= upload.state << 13;
                upload.state ^= upload.state >> 7;
                upload.state ^= upload.state << 17;
                memcpy(upload.chunk + i, &upload.state, 8);
            }
            upload.at = 0;
            upload.len = CHUNK;
            upload.sent += CHUNK;
            checksum(&upload.sum_sent, upload.chunk, CHUNK);
        }
        if (check(drywire_stream_write(loop->node, connection, upload.stream, upload.chunk + upload.at, upload.len,
                                       &count)) < 0)
            return;
        upload.at += count;
        upload.len -= count;
    }
}

static void upload_read(struct loop *loop, uint64_t connection) {
    static uint8_t buffer[CHUNK];
    size_t count;
    while (check(drywire_stream_read(loop->node, connection, upload.stream, buffer, CHUNK, &count)) == DRYWIRE_OK) {
        if (count == 0) {
            upload.done = upload.received == TOTAL && upload.sum_sent == upload.sum_received;
            check(drywire_shutdown(loop->node, now()));
            return;
        }
        upload.received += count;
        checksum(&upload.sum_received, buffer, count);
    }
}

static void client(struct loop *loop, const drywire_event *event) {
    switch (event->kind) {
    case DRYWIRE_EVENT_DIAL_FAILED:
        fail("the server was not reached");
        break;
    case DRYWIRE_EVENT_ESTABLISHED:
        if (check(drywire_open(loop->node, now(), event->connection, PROTOCOL, &upload.stream)) < 0) fail("no stream");
        upload.is_open = 1;
        upload_write(loop, event->connection);
        break;
    case DRYWIRE_EVENT_READABLE:
        upload_read(loop, event->connection);
        if (!upload.done) upload_write(loop, event->connection);
        break;
    case DRYWIRE_EVENT_WRITABLE:
        upload_write(loop, event->connection);
        break;
    case DRYWIRE_EVENT_RESET:
    case DRYWIRE_EVENT_CLOSED:
        if (!upload.done) fail("the stream failed");
        break;
    default:
        break;
    }
}

int main(void) {
    static struct loop serving, calling;
    char address[64];
    uint64_t begin = now();
    start(&serving, server);
    start(&calling, client);
    check(drywire_accept_streams(serving.node, now(), PROTOCOL));
    check(drywire_listen(serving.node, now(), "/ip4/127.0.0.1/tcp/0"));
    settle(&serving);
    snprintf(address, sizeof address, "/ip4/127.0.0.1/tcp/%u", serving.bound.port);
    check(drywire_dial(calling.node, now(), address));
    run(&calling, &serving);
    drywire_node_free(calling.node);
    drywire_node_free(serving.node);
    if (!upload.done) fail("not everything came back");
    printf("%llu bytes there and back in %llu ms: checksum %016llx\n", (unsigned long long)upload.received,
           (unsigned long long)((now() - begin) / MILLISECOND), (unsigned long long)upload.sum_received);
    return 0;
}

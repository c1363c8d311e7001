/* A libp2p node for an event loop written in C: an example of a binding, see the documentation of the crate.
 *
 * The caller owns sockets, clock, entropy and threads; the node owns none of them. Every function
 *   - returns a status: 0 or more is success, see below;
 *   - takes pointers that are valid and not null, unless it says otherwise;
 *   - copies what it is given before it returns;
 *   - may be called from any thread, but never from two at once for one node.
 * `now` is monotonic time in nanoseconds, from any start (CLOCK_MONOTONIC will do). It never matters if it goes back a little. */
#ifndef DRYWIRE_EXAMPLE_H
#define DRYWIRE_EXAMPLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Opaque. From drywire_node_new to drywire_node_free it belongs to whoever made it. */
typedef struct drywire_node drywire_node;

enum {
    DRYWIRE_OK = 0,
    DRYWIRE_BLOCKED = -1,      /* nothing to read, no room to write: an event follows */
    DRYWIRE_FAILED = -2,       /* refused, unknown or gone */
    DRYWIRE_BAD_ARGUMENT = -3, /* a null pointer, an address or a name that is none */
    DRYWIRE_PANICKED = -4      /* a bug in the library; free the node, nothing else works any more */
};

typedef struct {
    uint8_t ip[4];
    uint16_t port; /* in this machine's byte order */
} drywire_ipv4;

/* What the loop is to do. */
enum {
    DRYWIRE_ACTION_DIAL = 0,         /* connect to `address`, then drywire_handle_dialed(id) */
    DRYWIRE_ACTION_CANCEL_DIAL = 1,  /* give the attempt `id` up; no answer */
    DRYWIRE_ACTION_LISTEN = 2,       /* listen on `address`, then drywire_handle_listening(id) */
    DRYWIRE_ACTION_STOP_LISTEN = 3,  /* close the listener `id`, then drywire_handle_listening(id, NULL) */
    DRYWIRE_ACTION_PAUSE_ACCEPT = 4, /* accept nothing until: */
    DRYWIRE_ACTION_RESUME_ACCEPT = 5,
    DRYWIRE_ACTION_TRANSMIT = 6,     /* the connection `id` has bytes for its socket */
    DRYWIRE_ACTION_CLOSE = 7         /* the connection `id` is over: write what is left, close the socket, wait
                                        while drywire_unread, then drywire_handle_closed */
};

typedef struct {
    uint32_t kind;
    drywire_ipv4 address;
    uint64_t id;
} drywire_action;

/* What happened. */
enum {
    DRYWIRE_EVENT_LISTENING = 0,         /* at `address` */
    DRYWIRE_EVENT_DIAL_FAILED = 1,
    DRYWIRE_EVENT_SHUTDOWN_COMPLETE = 2, /* everything is closed */
    DRYWIRE_EVENT_ESTABLISHED = 3,       /* `connection`: streams may be opened */
    DRYWIRE_EVENT_CLOSED = 4,            /* `connection`; what its streams hold can still be read */
    DRYWIRE_EVENT_INBOUND = 5,           /* the peer opened `stream` */
    DRYWIRE_EVENT_READABLE = 6,
    DRYWIRE_EVENT_WRITABLE = 7,
    DRYWIRE_EVENT_FINISHED = 8,          /* both sides are done with `stream`, and it is gone */
    DRYWIRE_EVENT_RESET = 9              /* `stream` has failed: read what is left, then release it */
};

typedef struct {
    uint32_t kind;
    drywire_ipv4 address;
    uint64_t connection;
    uint64_t stream;
} drywire_event;

/* A node with a new identity made from 32 random bytes. */
int32_t drywire_node_new(const uint8_t *entropy, uint64_t now, uint64_t unix_seconds, drywire_node **node);
/* Frees it, at once and without a word to its peers. NULL is nothing. */
void drywire_node_free(drywire_node *node);

/* Commands. Addresses are texts such as "/ip4/127.0.0.1/tcp/4001". */
int32_t drywire_listen(drywire_node *node, uint64_t now, const char *address);
int32_t drywire_dial(drywire_node *node, uint64_t now, const char *address);
int32_t drywire_accept_streams(drywire_node *node, uint64_t now, const char *protocol);
int32_t drywire_shutdown(drywire_node *node, uint64_t now);

/* After any call: 1 and the next one, or 0. Ask until both say 0. */
int32_t drywire_poll_action(drywire_node *node, uint64_t now, drywire_action *action);
int32_t drywire_poll_event(drywire_node *node, drywire_event *event);

/* When to call drywire_handle_timeout: 1 and the time, or 0 for never. */
int32_t drywire_poll_timeout(drywire_node *node, uint64_t *at);
int32_t drywire_handle_timeout(drywire_node *node, uint64_t now);

/* Listeners and dials. `bound` is NULL if the listener failed or is closed. DRYWIRE_FAILED: close that socket. */
int32_t drywire_handle_listening(drywire_node *node, uint64_t now, uint64_t listener, const drywire_ipv4 *bound);
int32_t drywire_handle_accepted(drywire_node *node, uint64_t now, const drywire_ipv4 *remote, uint64_t *connection);
int32_t drywire_handle_dialed(drywire_node *node, uint64_t now, uint64_t attempt, int32_t connected,
                              uint64_t *connection);

/* What sockets bring. 1: read the socket; 0: do not, there is no room. */
int32_t drywire_wants_input(drywire_node *node, uint64_t connection);
/* `taken` may be less than `len`: give the rest when drywire_wants_input says 1 again. */
int32_t drywire_handle_input(drywire_node *node, uint64_t now, uint64_t connection, const uint8_t *data, size_t len,
                             size_t *taken);
int32_t drywire_handle_eof(drywire_node *node, uint64_t now, uint64_t connection);
int32_t drywire_handle_lost(drywire_node *node, uint64_t now, uint64_t connection);
/* 1: streams of the connection hold what nobody has read yet. A peer may go when it has said everything, so after
 * DRYWIRE_ACTION_CLOSE close the socket, but wait with drywire_handle_closed until this says 0, 10 s perhaps. Once the node
 * shuts down it always does. */
int32_t drywire_unread(drywire_node *node, uint64_t connection);
/* After DRYWIRE_ACTION_CLOSE, when the socket is closed and everything was read: the connection's streams are gone. */
int32_t drywire_handle_closed(drywire_node *node, uint64_t now, uint64_t connection);

/* What sockets are to carry. The bytes are lent until the next call for this node. Say how many were written, and ask
 * again; `last` says that nothing follows these: then shut the socket's write side down. */
int32_t drywire_wants_transmit(drywire_node *node, uint64_t connection);
int32_t drywire_poll_transmit(drywire_node *node, uint64_t now, uint64_t connection, const uint8_t **data, size_t *len,
                              int32_t *last);
int32_t drywire_transmitted(drywire_node *node, uint64_t connection, size_t count);

/* Streams. Reading 0 bytes is the end. `buffer` is initialised memory. */
int32_t drywire_open(drywire_node *node, uint64_t now, uint64_t connection, const char *protocol, uint64_t *stream);
int32_t drywire_stream_read(drywire_node *node, uint64_t connection, uint64_t stream, uint8_t *buffer, size_t len,
                            size_t *count);
int32_t drywire_stream_write(drywire_node *node, uint64_t connection, uint64_t stream, const uint8_t *data, size_t len,
                             size_t *count);
/* Half-closes. */
int32_t drywire_stream_finish(drywire_node *node, uint64_t connection, uint64_t stream);
/* Lets go of it; resets it unless it was finished. */
int32_t drywire_stream_release(drywire_node *node, uint64_t connection, uint64_t stream);

#ifdef __cplusplus
}
#endif

#endif

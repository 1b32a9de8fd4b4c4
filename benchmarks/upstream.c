/* A model server for benchmarks: OpenAI wire format, fixed answers, one thread, epoll.
 *
 *   upstream PORT CHUNKS PACE_US
 *
 * A request whose body contains "stream":true gets CHUNKS server-sent events, one write() each, PACE_US apart
 * (0: as fast as the connections take them, round robin), then usage and [DONE]. Any other request gets a whole
 * answer of about 1 KB. Each event carries CLOCK_MONOTONIC in nanoseconds as its content.
 * On SIGTERM it prints how much it sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 4096
#define BUFFER 65536

typedef struct {
    char in[BUFFER];
    int have;
    int left;            /* events still to send; -1: no stream */
    long long next_ns;   /* when the next event is due */
} Conn;

static Conn *conns[MAX_FD];
static int streaming[MAX_FD], streams;
static long long requests, chunks;
static volatile sig_atomic_t stop;
static char whole[2048];
static int whole_size;

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void on_term(int sig) { (void)sig; stop = 1; }

static void make_whole(void) {
    char filler[700];
    memset(filler, 'a', sizeof filler - 1);
    filler[sizeof filler - 1] = 0;
    char body[1500];
    int n = snprintf(body, sizeof body,
        "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1790000000,\"model\":\"m1\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":57,\"completion_tokens\":175,\"total_tokens\":232,"
        "\"prompt_tokens_details\":{\"cached_tokens\":0}}}", filler);
    whole_size = snprintf(whole, sizeof whole,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", n, body);
}

static void drop(int fd) {
    if (conns[fd]->left >= 0)
        for (int i = 0; i < streams; i++)
            if (streaming[i] == fd) { streaming[i] = streaming[--streams]; break; }
    free(conns[fd]);
    conns[fd] = NULL;
    close(fd);
}

static int send_all(int fd, const char *data, int size) {
    return send(fd, data, size, MSG_NOSIGNAL) == size ? 0 : -1;
}

static int event(int fd, const char *json, int size) {
    char out[1024];
    int n = snprintf(out, sizeof out, "%x\r\ndata: %s\n\n\r\n", size + 8, json);
    return send_all(fd, out, n);
}

/* Send one event of a stream, or its end. Returns 1 when the stream is over, -1 when the caller is gone. */
static int step(int fd, Conn *c, long long pace_ns) {
    char json[512];
    if (c->left > 0) {
        int n = snprintf(json, sizeof json,
            "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"m1\","
            "\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%020lld\"},"
            "\"logprobs\":null,\"finish_reason\":null}]}", now_ns());
        if (event(fd, json, n) < 0) return -1;
        chunks++;
        c->left--;
        c->next_ns += pace_ns;
        return 0;
    }
    int n = snprintf(json, sizeof json,
        "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"m1\",\"choices\":[],"
        "\"usage\":{\"prompt_tokens\":57,\"completion_tokens\":200,\"total_tokens\":257}}");
    if (event(fd, json, n) < 0) return -1;
    if (send_all(fd, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", 24) < 0) return -1;
    return 1;
}

/* Answer every whole request in the buffer. Returns -1 when the caller is gone. */
static int answer(int fd, Conn *c, int number) {
    while (c->left < 0) {
        char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
        if (!end) return 0;
        *end = 0;
        char *length = strcasestr(c->in, "content-length:");
        int size = length ? atoi(length + 15) : 0, head = (int)(end - c->in) + 4;
        *end = '\r';
        if (c->have < head + size) return 0;
        int stream = memmem(c->in + head, size, "\"stream\":true", 13) != NULL;
        memmove(c->in, c->in + head + size, c->have - head - size);
        c->have -= head + size;
        requests++;
        if (!stream) {
            if (send_all(fd, whole, whole_size) < 0) return -1;
            continue;
        }
        static const char start[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        if (send_all(fd, start, sizeof start - 1) < 0) return -1;
        c->left = number;
        c->next_ns = now_ns();
        streaming[streams++] = fd;
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int number = atoi(argv[2]);
    long long pace_ns = atoll(argv[3]) * 1000LL;
    signal(SIGTERM, on_term);
    make_whole();
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listening, (struct sockaddr *)&at, sizeof at) || listen(listening, 1024)) return 1;
    int epoll = epoll_create1(0);
    struct epoll_event ready[256], wanted = {.events = EPOLLIN, .data.fd = listening};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &wanted);
    while (!stop) {
        int wait = -1;
        if (streams) {
            long long soonest = conns[streaming[0]]->next_ns;
            for (int i = 1; i < streams; i++)
                if (conns[streaming[i]]->next_ns < soonest) soonest = conns[streaming[i]]->next_ns;
            long long ms = pace_ns ? (soonest - now_ns()) / 1000000 : 0;
            wait = ms < 0 ? 0 : (int)ms;
        }
        int n = epoll_wait(epoll, ready, 256, wait);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == listening) {
                int got = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
                if (got < 0) continue;
                if (got >= MAX_FD) { close(got); continue; }
                setsockopt(got, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                conns[got] = calloc(1, sizeof(Conn));
                conns[got]->left = -1;
                wanted.data.fd = got;
                epoll_ctl(epoll, EPOLL_CTL_ADD, got, &wanted);
                continue;
            }
            Conn *c = conns[fd];
            int got = recv(fd, c->in + c->have, BUFFER - c->have, 0);
            if (got <= 0 && !(got < 0 && errno == EAGAIN)) { drop(fd); continue; }
            if (got > 0) c->have += got;
            if (answer(fd, c, number) < 0) drop(fd);
        }
        long long now = now_ns();
        for (int i = 0; i < streams; i++) {
            int fd = streaming[i];
            Conn *c = conns[fd];
            if (pace_ns && c->next_ns > now) continue;
            struct pollfd room = {.fd = fd, .events = POLLOUT};
            if (poll(&room, 1, 0) != 1 || room.revents != POLLOUT) continue; /* so that no event is cut */
            int over = step(fd, c, pace_ns);
            if (over < 0) { drop(fd); i--; }
            else if (over) {
                c->left = -1;
                streaming[i--] = streaming[--streams];
                if (answer(fd, c, number) < 0) drop(fd);
            }
        }
    }
    printf("{\"requests\":%lld,\"chunks\":%lld}\n", requests, chunks);
    return 0;
}

/* What a hostile program inside a rootfs would try. Static, so that any rootfs can run it.
 *
 *   attack command SOCKET NUMBER   sends a command to a container's monitor, as lxc-stop does; a
 *                                  descriptor that comes back is followed to the root above it
 *   attack abstract SOCKET         connects to an abstract socket
 *   attack key NAME                reads a key of the user's keyring
 *   attack calls                   makes every system call that no step needs
 *   attack compat                  makes some of them as a 32-bit program would
 *   attack kill                    signals every process that it can name
 *
 * Prints one line for each attempt: what it tried, and `refused`, `absent` or `possible`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int possible;

static void outcome(const char *what, long result)
{
	if (result >= 0) {
		possible = 1;
		printf("%s: possible\n", what);
	} else if (errno == ENOSYS) {
		printf("%s: absent\n", what);
	} else {
		printf("%s: refused (%s)\n", what, strerror(errno));
	}
}

static int dial(const char *name, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(name);
	int fd = socket(AF_UNIX, type, 0);
	if (fd < 0 || length > sizeof(address.sun_path) - 1)
		return -1;
	memcpy(address.sun_path + 1, name, length);
	if (connect(fd, (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + length) < 0)
		return -1;
	return fd;
}

/* The request of LXC's monitor: a number, and the length and address of what follows it. */
struct request {
	int number;
	int length;
	const void *data;
};

static void follow(int fd)
{
	struct stat above, here;
	if (fchdir(fd) < 0)
		return;
	for (int i = 0; i < 64; i++)
		if (chdir("..") < 0)
			break;
	int file = open("taken", O_CREAT | O_WRONLY, 0600);
	outcome("write above the descriptor", file);
	if (stat(".", &here) == 0 && stat("/", &above) == 0)
		printf("above: %s\n", here.st_ino == above.st_ino ? "own root" : "another root");
}

static void command(const char *name, int number)
{
	int fd = dial(name, SOCK_STREAM);
	if (fd < 0) {
		outcome("connect to a monitor", fd);
		return;
	}
	/* Whoever may change ids may also claim to have others. */
	for (int uid = 0; uid <= 65536; uid += 65536) {
		struct request request = { number, 0, NULL };
		struct iovec part = { &request, sizeof(request) };
		char space[CMSG_SPACE(sizeof(struct ucred))] = { 0 };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1,
			.msg_control = space, .msg_controllen = sizeof(space) };
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		struct ucred who = { getpid(), uid, uid };
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_CREDENTIALS;
		head->cmsg_len = CMSG_LEN(sizeof(who));
		memcpy(CMSG_DATA(head), &who, sizeof(who));
		if (sendmsg(fd, &message, MSG_NOSIGNAL) < 0) {
			printf("send as %d: refused (%s)\n", uid, strerror(errno));
			continue;
		}
		struct { int result; int length; void *data; char rest[4096]; } answer;
		struct iovec into = { &answer, sizeof(answer) };
		char room[CMSG_SPACE(8 * sizeof(int))];
		struct msghdr reply = { .msg_iov = &into, .msg_iovlen = 1,
			.msg_control = room, .msg_controllen = sizeof(room) };
		ssize_t got = recvmsg(fd, &reply, 0);
		if (got <= 0 || answer.result < 0) {
			printf("command %d as %d: refused\n", number, uid);
		} else {
			errno = 0;
			outcome("command", 0);
			for (head = CMSG_FIRSTHDR(&reply); head; head = CMSG_NXTHDR(&reply, head))
				if (head->cmsg_type == SCM_RIGHTS)
					follow(*(int *)CMSG_DATA(head));
		}
		close(fd);
		fd = dial(name, SOCK_STREAM);
	}
}

/* Special keyrings, and operations, of keyctl(2). */
enum { SESSION = -3, USER = -4, LINK = 8, SEARCH = 10, READ = 11 };

static void key(const char *name)
{
	char text[256] = { 0 };
	long key = syscall(SYS_keyctl, SEARCH, USER, "user", name, 0);
	outcome("find a key", key);
	if (key >= 0) {
		syscall(SYS_keyctl, LINK, key, SESSION);
		outcome("read it", syscall(SYS_keyctl, READ, key, text, sizeof(text) - 1));
		puts(text);
	}
}

static const struct { const char *name; long number; } calls[] = {
	{ "keyctl", SYS_keyctl }, { "add_key", SYS_add_key }, { "request_key", SYS_request_key },
	{ "bpf", SYS_bpf }, { "perf_event_open", SYS_perf_event_open },
	{ "userfaultfd", SYS_userfaultfd }, { "io_uring_setup", SYS_io_uring_setup },
	{ "io_uring_enter", SYS_io_uring_enter }, { "io_uring_register", SYS_io_uring_register },
	{ "kexec_load", SYS_kexec_load }, { "open_by_handle_at", SYS_open_by_handle_at },
	{ "init_module", SYS_init_module }, { "finit_module", SYS_finit_module },
	{ "delete_module", SYS_delete_module }, { "quotactl", SYS_quotactl }, { "acct", SYS_acct },
	{ "swapon", SYS_swapon }, { "swapoff", SYS_swapoff }, { "reboot", SYS_reboot },
	{ "pivot_root", SYS_pivot_root }, { "syslog", SYS_syslog }, { "vhangup", SYS_vhangup },
	{ "fanotify_init", SYS_fanotify_init },
};

#ifdef __x86_64__
static long compat(int number)
{
	long result;
	__asm__ volatile("int $0x80" : "=a"(result)
		: "a"((long)number), "b"(0L), "c"(0L), "d"(0L), "S"(0L), "D"(0L)
		: "memory", "r8", "r9", "r10", "r11");
	errno = (int)-result;
	return (int)result < 0 ? -1 : result;
}
#endif

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "command") && argc > 3) {
		command(argv[2], atoi(argv[3]));
	} else if (!strcmp(what, "abstract") && argc > 2) {
		outcome("stream", dial(argv[2], SOCK_STREAM));
	} else if (!strcmp(what, "key") && argc > 2) {
		key(argv[2]);
	} else if (!strcmp(what, "calls")) {
		for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
			outcome(calls[i].name, syscall(calls[i].number, 0, 0, 0, 0, 0, 0));
		outcome("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
	} else if (!strcmp(what, "compat")) {
#ifdef __x86_64__
		static const struct { const char *name; int number; } old[] = {
			{ "keyctl", 288 }, { "add_key", 286 }, { "request_key", 287 }, { "bpf", 357 },
			{ "perf_event_open", 336 }, { "userfaultfd", 374 }, { "io_uring_setup", 425 },
			{ "open_by_handle_at", 342 }, { "pivot_root", 217 }, { "syslog", 103 },
		};
		for (size_t i = 0; i < sizeof(old) / sizeof(*old); i++)
			outcome(old[i].name, compat(old[i].number));
		outcome("x32", syscall(SYS_getpid | 0x40000000));
#endif
	} else if (!strcmp(what, "kill")) {
		int sent = 0;
		for (int id = 2; id < 4194304; id++)
			sent += id != getpid() && id != getppid() && kill(id, 0) == 0;
		printf("signals sent: %d\n", sent);
	} else {
		return 2;
	}
	return possible;
}

/* Runs a program, and strikes it once, at a system call that it makes itself:
 *
 *     strike OUT FAULT POINT PROGRAM [ARGUMENTS...]
 *
 * FAULT is a signal, which the process gets that makes the call, or an error, which the call has without
 * being made. The calls of all processes and threads are counted together, as far as they are ones that
 * the fault may come at, until a process becomes another program. What was counted, and the struck call's
 * number, is written to OUT. At point 0 nothing is struck. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/ptrace.h>

#define NUMBER offsetof(struct user_regs_struct, orig_rax)
#define RESULT offsetof(struct user_regs_struct, rax)

/* What writes to a disk. */
#define WRITES SYS_write, SYS_pwrite64, SYS_writev, SYS_ftruncate, SYS_fallocate, SYS_copy_file_range, \
    SYS_sendfile, SYS_openat, SYS_openat2, SYS_mkdir, SYS_mkdirat, SYS_mknodat, SYS_rename, SYS_renameat, \
    SYS_renameat2, SYS_link, SYS_linkat, SYS_symlink, SYS_symlinkat, SYS_setxattr, SYS_lsetxattr, \
    SYS_fsetxattr, SYS_fsync, SYS_fdatasync, SYS_syncfs, SYS_mount
/* What changes what is there. */
#define CHANGES SYS_unlink, SYS_unlinkat, SYS_rmdir, SYS_chmod, SYS_fchmod, SYS_fchmodat, SYS_chown, \
    SYS_fchown, SYS_fchownat, SYS_lchown, SYS_utimensat
/* What reads from one. */
#define READS SYS_read, SYS_pread64, SYS_readv, SYS_getdents64, SYS_readlink, SYS_readlinkat, SYS_stat, \
    SYS_lstat, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs, SYS_getxattr, SYS_fgetxattr, \
    SYS_lgetxattr, SYS_flistxattr, SYS_llistxattr, SYS_access, SYS_faccessat2
/* What makes a descriptor. */
#define OPENS SYS_open, SYS_openat, SYS_openat2, SYS_pipe2, SYS_dup, SYS_dup3, SYS_socket, SYS_socketpair, \
    SYS_memfd_create, SYS_signalfd4, SYS_pidfd_open, SYS_open_tree, SYS_fsopen, SYS_fsmount
/* What waits, and is made again by whoever knows that it can be woken. */
#define WAITS SYS_read, SYS_write, SYS_poll, SYS_ppoll, SYS_wait4, SYS_waitid, SYS_flock, SYS_fcntl, \
    SYS_openat, SYS_clock_nanosleep

struct fault {
    const char *name;
    int signal, error;
    long calls[96];
};

static const struct fault faults[] = {
    {"KILL", SIGKILL, 0, {-1}},
    {"TERM", SIGTERM, 0, {-1}},
    {"INT", SIGINT, 0, {-1}},
    {"HUP", SIGHUP, 0, {-1}},
    {"ENOSPC", 0, ENOSPC, {WRITES, -2}},
    {"EDQUOT", 0, EDQUOT, {WRITES, CHANGES, -2}},
    {"EROFS", 0, EROFS, {WRITES, CHANGES, -2}},
    {"EIO", 0, EIO, {WRITES, CHANGES, READS, -2}},
    {"ENOMEM", 0, ENOMEM, {WRITES, CHANGES, READS, OPENS, SYS_clone, SYS_clone3, SYS_unshare, -2}},
    {"EMFILE", 0, EMFILE, {OPENS, -2}},
    {"EINTR", 0, EINTR, {WAITS, -2}},
};

static int comes_at(const struct fault *fault, long call)
{
    for (const long *known = fault->calls; *known != -2; known++)
        if (*known == -1 || *known == call)
            return 1;
    return 0;
}

static void fail(const char *what)
{
    perror(what);
    exit(99);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 99;
    const struct fault *fault = NULL;
    for (size_t at = 0; at < sizeof faults / sizeof *faults; at++)
        if (!strcmp(faults[at].name, argv[2]))
            fault = &faults[at];
    long point = atol(argv[3]), count = 0, struck_call = -1;
    if (!fault)
        return 99;
    int ready[2];
    if (pipe(ready))
        fail("pipe");
    pid_t root = fork(), struck = 0;
    if (!root) {
        char byte;
        close(ready[1]);
        if (read(ready[0], &byte, 1))
            return 99;
        close(ready[0]);
        execvp(argv[4], argv + 4);
        fail(argv[4]);
    }
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE
        | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SEIZE, root, 0, options) || ptrace(PTRACE_INTERRUPT, root, 0, 0))
        fail("ptrace");
    close(ready[0]);
    close(ready[1]);
    int begun = 0, status, ended = 99 << 8;
    pid_t pid;
    while ((pid = waitpid(-1, &status, __WALL)) > 0) {
        if (!WIFSTOPPED(status)) {
            if (pid == root)
                ended = status;
            continue;
        }
        int signal = WSTOPSIG(status), event = status >> 16;
        if (signal == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info;
            if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0) {
                if (info.op == PTRACE_SYSCALL_INFO_ENTRY && begun && comes_at(fault, info.entry.nr)
                    && ++count == point) {
                    struck_call = info.entry.nr;
                    if (fault->signal) {
                        kill(pid, fault->signal);
                    } else {
                        ptrace(PTRACE_POKEUSER, pid, NUMBER, -1);
                        struck = pid;
                    }
                } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && pid == struck) {
                    ptrace(PTRACE_POKEUSER, pid, RESULT, -(long)fault->error);
                    struck = 0;
                }
            }
            signal = 0;
        } else if (event == PTRACE_EVENT_EXEC) {
            if (begun) {
                ptrace(PTRACE_DETACH, pid, 0, 0);
                continue;
            }
            begun = 1;
            signal = 0;
        } else if (event == PTRACE_EVENT_STOP && signal != SIGTRAP) {
            ptrace(PTRACE_LISTEN, pid, 0, 0);
            continue;
        } else if (event) {
            signal = 0;
        }
        ptrace(PTRACE_SYSCALL, pid, 0, signal);
    }
    FILE *out = fopen(argv[1], "w");
    if (!out || fprintf(out, "%ld %ld\n", count, struck_call) < 0 || fclose(out))
        fail(argv[1]);
    return WIFSIGNALED(ended) ? 128 + WTERMSIG(ended) : WEXITSTATUS(ended);
}

/* Runs a program whose every fsync and fdatasync takes MICROSECONDS longer, as on a slower disk.
 *
 * usage: delay MICROSECONDS PROGRAM [ARGUMENT...]
 *
 * A seccomp filter sends the two calls to a supervising child, which waits and lets them continue. An LD_PRELOAD library
 * would not do: Go programs make their system calls without libc. Every server under test gets the same treatment.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static int listener;
static struct timespec delay;

static void *supervise(void *unused)
{
    (void)unused;
    prctl(PR_SET_TIMERSLACK, 1000);
    for (;;) {
        struct seccomp_notif call;
        struct seccomp_notif_resp answer;
        memset(&call, 0, sizeof call);
        memset(&answer, 0, sizeof answer);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
            continue; /* the caller is gone; the kernel ends us with our parent */
        nanosleep(&delay, NULL);
        answer.id = call.id;
        answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    return NULL;
}

static int listen_for_syncs(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fsync, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fdatasync, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { sizeof rules / sizeof rules[0], rules };
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    long fd;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &filter);
    if (fd < 0 && errno == EINVAL)
        fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
    return (int)fd;
}

int main(int count, char **words)
{
    pid_t parent = getpid(), child;
    long micros;
    if (count < 3)
        return 2;
    micros = atol(words[1]);
    delay.tv_sec = micros / 1000000;
    delay.tv_nsec = micros % 1000000 * 1000;
    listener = listen_for_syncs();
    if (listener < 0) {
        perror("seccomp");
        return 3;
    }
    child = fork();
    if (child < 0) {
        perror("fork");
        return 3;
    }
    if (child == 0) {
        pthread_t thread;
        int index;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            return 0;
        for (index = 0; index < 15; index++)
            pthread_create(&thread, NULL, supervise, NULL);
        supervise(NULL);
    }
    close(listener);
    execv(words[2], words + 2);
    perror(words[2]);
    return 3;
}

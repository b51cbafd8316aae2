#!/bin/sh
# Runs as a step inside the rootfs, and looks for anything of the host. Prints what it finds.
# $CAPABILITIES, $MAP, $INTERFACES and $MARK say what there may be, and what there may not.
set -u
leaks=0
leak() { echo "LEAK $*"; leaks=$((leaks + 1)); }
same() { [ "$2" = "$3" ] || leak "$1: '$3', not '$2'"; }
refused() { if sh -c "$1" 2>/dev/null; then leak "possible: $1"; fi; }

# Descriptors: the standard streams, and the shell's own of this script.
for path in "/proc/$$/fd/"*; do
    [ -L "$path" ] || continue
    case "${path##*/} $(readlink "$path")" in
        "0 /dev/null" | "1 pipe:"* | "2 pipe:"* | *" /run/layered-template/probe.sh") ;;
        *) leak "descriptor $(ls -l "$path")" ;;
    esac
done

# Environment.
for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
    case $name in
        CAPABILITIES | MAP | INTERFACES | MARK) ;;
        DEBIAN_FRONTEND | HOME | LANG | LAYER_NAME | LXC_NAME | PATH | PWD | SHLVL | TERM) ;;
        *) leak "environment $name" ;;
    esac
done
same HOME /root "$HOME"
same directory / "$(pwd)"
same umask 0022 "$(umask)"
same "host name" "$LXC_NAME" "$(hostname)"

# Terminal and session.
refused ': </dev/tty'
set -- $(sed 's/.*) //' "/proc/$$/stat")
same session "$$" "$4"
same terminal 0 "$5"

# A shell may block them all for the moment in which it starts a command.
blocked() { sed -n 's/^SigBlk:\t0*\(.\)/\1/p' "/proc/$$/status"; }
tries=0
while [ "$tries" -lt 20 ] && [ "$(blocked)" != 0 ]; do tries=$((tries + 1)); done
[ "$tries" -lt 20 ] || leak "blocked signals: '$(blocked)'"

# Processes: the first one, which says nothing of the host, and this one's.
for path in /proc/[0-9]*; do
    id=${path#/proc/}
    parent=$(sed -n 's/^PPid:\t//p' "$path/status" 2>/dev/null) || continue
    case "$id $parent" in
        "1 0" | "$$ 1" | *" $$" | " "* | *" ") ;;
        *) leak "process $id of $parent: $(tr '\0' ' ' <"$path/cmdline")" ;;
    esac
    if [ "$id" != "$$" ] && tr '\0' '\n' 2>/dev/null <"$path/cmdline" | grep -q "$MARK"; then
        leak "arguments of $id"
    fi
done
refused 'cat /proc/1/environ'
refused 'readlink /proc/1/exe'
refused 'readlink /proc/1/fd/1'
refused 'cat /proc/1/mem'
if grep -q . /proc/keys; then leak keys; fi

# Mounts.
while read -r _ point _; do
    case $point in
        / | /proc | /proc/* | /sys | /dev | /dev/* | /run | /tmp) ;;
        *) leak "mount $point" ;;
    esac
done </proc/mounts
for name in null zero full random urandom tty; do
    case $(grep " /dev/$name " /proc/mounts) in
        *" ro,"*) ;;
        *) leak "the node of $name can be changed" ;;
    esac
done

# What the host would feel. Nothing is written: to open it is enough. What might get through changes
# nothing either.
for path in /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/irq/default_smp_affinity \
    /proc/sysrq-trigger; do
    [ -e "$path" ] && refused ": >>$path"
done
for name in null zero full; do
    refused "chmod 666 /dev/$name"
    refused "chown 0:0 /dev/$name"
done
refused 'touch /sys/x'
refused 'hostname "$(hostname)"'
refused 'mount -t tmpfs none /mnt'
refused 'umount /tmp'
refused 'mknod /mnt/null c 1 3'
refused 'head -c 1 /proc/kcore | grep -q .'

# What it may do, and who it is.
for set in CapPrm CapEff CapBnd; do
    same "$set" "$CAPABILITIES" "$(sed -n "s/^$set:\t0*//p" "/proc/$$/status")"
done
same CapInh 0 "$(sed -n 's/^CapInh:\t0*\(.\)/\1/p' "/proc/$$/status")"
same "user map" "$MAP" "$(tr -s ' \n' ' ' </proc/self/uid_map | sed 's/^ //; s/ $//')"
same loopback 1 "$(ip -o link show lo up | wc -l)"
# Nothing, where the network namespace that /sys shows has ended.
same "interfaces of /sys" '' "$(ls /sys/class/net 2>/dev/null | grep -v '^lo$')"
[ "$INTERFACES" = all ] || same interfaces 1 "$(ip -o link | wc -l)"

# What it needs.
for path in /tmp /run/lock /dev/shm; do
    same "mode of $path" 1777 "$(stat -c %a "$path")"
done
echo x >/dev/null || leak "/dev/null does not work"
[ "$(head -c 2 /dev/zero | wc -c)" = 2 ] || leak "/dev/zero does not work"
[ "$(echo x | cat /dev/stdin)" = x ] || leak "/dev/stdin does not work"
[ -c /dev/ptmx ] || leak "no /dev/ptmx"
[ "$leaks" = 0 ]

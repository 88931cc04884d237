#!/bin/sh
# PID 1 of `make run`: the demonstration first, then a shell with job control on the console.
export PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root TERM="${TERM:-vt100}"
[ -c /dev/null ] || mount -t devtmpfs dev /dev
[ -d /proc/self ] || mount -t proc proc /proc

# The demonstration is a test: its story is in the comments of its output, its verdict in its exit status.
if [ -x /tests/classic ]; then
    echo
    echo "Foster: real processes, orphaned and adopted"
    /tests/classic >/tmp/classic
    verdict=$?
    sed -n -e '/passed,.*failed/d' -e 's/^#//p' -e '/^not ok/p' /tmp/classic
    echo
    echo "$(grep -c '^ok' /tmp/classic) assertions hold, $(grep -c '^not ok' /tmp/classic) do not (status $verdict)."
fi

echo
echo "A busybox shell; the test programs are in /tests. exit or poweroff ends the machine, Ctrl-A x ends QEMU."
cd /root
# The shell leads a session of its own whose controlling terminal is the console: that is what makes ^C and job control
# work. PID 1 stays outside, to reap what the shell leaves behind. (In the background it would ignore SIGINT.)
setsid -c sh -l </dev/console >/dev/console 2>&1
poweroff -f

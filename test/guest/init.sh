#!/bin/sh
# PID 1 of `make run`: the demonstration first, then a shell with job control on the console.
export PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root TERM=${TERM:-vt100}
mount -t devtmpfs dev /dev 2>/dev/null
mount -t proc proc /proc 2>/dev/null

echo
echo "Foster $(uname -r): orphans and who adopts them"
echo
[ -x /tests/classic ] && /tests/classic
echo
echo "A busybox shell. \`exit\` or \`poweroff -f\` ends the machine; Ctrl-A x ends QEMU."
cd /root
# The shell leads a session of its own whose controlling terminal is the console: that is what makes ^C and job control
# work. PID 1 stays outside, so that it is there to reap what the shell leaves behind.
setsid -c sh -l </dev/console >/dev/console 2>&1
poweroff -f

# The interactive shell of `make run`. PID 1 is a script that waits for it, so nobody would listen to a polite poweroff.
export PS1='foster:\w# '
alias poweroff='poweroff -f' reboot='reboot -f' halt='halt -f'

# The interactive shell of `make run`.
export PS1='foster:\w# '
alias poweroff='poweroff -f' reboot='reboot -f' halt='halt -f'

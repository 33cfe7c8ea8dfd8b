# Greet once in each login on a terminal.
# shellcheck shell=sh
if [ -t 1 ] && [ "$(id -u)" = 0 ] && [ -z "${RESCUE_GREETED:-}" ]; then
    export RESCUE_GREETED=1
    rescue-disks --greeting
fi
PS1='(rescue) \u@\h:\w\$ '

# SPDX-License-Identifier: BSD-3-Clause
#
# Completion of shuntctl in bash: to be installed as /usr/share/bash-completion/completions/shuntctl,
# or to be sourced. What depends on the switch, such as names of ports, is asked of shuntd itself; where
# that does not answer, there is nothing to choose from.
#
# shellcheck shell=bash

# The first column of a table that `shuntctl OBJECT show` prints, without its heading.
_shuntctl_names() {
    "${ctl[@]}" "$1" show 2>/dev/null | awk 'NR > 1 { print $1 }'
}

# Types of ports, or all keys that the ports of one type take.
_shuntctl_types() {
    "${ctl[@]}" port types 2>/dev/null | awk -v type="$1" '
        /^[^ ]/ { current = $1; sub(/:$/, "", current); if (type == "") print current; next }
        /^  [^ ]/ && current == type && $1 != "KEY" { print $1 }'
}

# Those of the words that are not there yet.
_shuntctl_unused() {
    local word
    for word; do
        [[ " ${words[*]:first} " == *" $word "* ]] || echo "$word"
    done
}

# What the value of a key may be.
_shuntctl_values() {
    case $object.$1 in
    *.bridge) _shuntctl_names bridge ;;
    *.port) _shuntctl_names port ;;
    port.type) _shuntctl_types '' ;;
    port.mode) echo server client ;;
    port.packed | port.mergeable) echo on off ;;
    bridge.mode) echo learn patch ;;
    worker.mode) echo adaptive poll interrupt ;;
    esac
}

# The keys of the type that the words name for a port to be added.
_shuntctl_type_keys() {
    local i
    for ((i = first; i < last - 1; i++)); do
        [[ ${words[i]} == type ]] && _shuntctl_types "${words[i + 1]}"
    done
}

_shuntctl_operands() {
    case "$object $verb" in
    "port del" | "port set" | "port show") _shuntctl_names port ;;
    "bridge del" | "bridge set" | "bridge show") _shuntctl_names bridge ;;
    "config check" | "config apply") compgen -f -- "$current" ;;
    esac
}

_shuntctl_keys() {
    local of_type

    case "$object $verb" in
    "port add")
        of_type=$(_shuntctl_type_keys)
        echo "${of_type:-type bridge}" --dry-run
        ;;
    "port set") echo bridge max-addresses socket mode queues size packed mergeable device --dry-run ;;
    "bridge add" | "bridge set") echo mode ageing --dry-run ;;
    "worker set") echo mode cpus count --dry-run ;;
    "port del" | "bridge del" | "config apply") echo --dry-run ;;
    "fdb show" | "fdb flush") echo bridge port ;;
    "fdb add" | "stats show") echo port ;;
    "fdb del") echo bridge ;;
    esac
}

# What may follow the verb at the last place: an operand, keys and values by turns, options.
_shuntctl_arguments() {
    local first=2 i is_value=0 keys

    [[ $object == port || $object == bridge || $object == config || $verb == add || $object$verb == fdbdel ]] &&
        first=3
    if ((last < first)); then
        _shuntctl_operands
        return
    fi
    for ((i = first; i < last; i++)); do
        [[ ${words[i]} == --* ]] || is_value=$((! is_value))
    done
    if ((is_value)); then
        _shuntctl_values "${words[last - 1]}"
        return
    fi
    mapfile -t keys < <(_shuntctl_keys | tr ' ' '\n')
    _shuntctl_unused "${keys[@]}"
}

_shuntctl_verbs() {
    case $object in
    port) echo add del set show types help ;;
    bridge) echo add del set show help ;;
    fdb) echo show add del flush help ;;
    worker) echo show set help ;;
    stats) echo show help ;;
    config) echo show check apply help ;;
    top) echo -i -b -n help ;;
    version) echo help ;;
    esac
}

_shuntctl() {
    local line=${COMP_LINE:0:COMP_POINT} ctl choices words object verb current last

    # Not COMP_WORDS, which bash splits at the colons of addresses too.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=('')
    current=${words[-1]}
    # Options first: --control is handed on to where names are asked for.
    ctl=("${words[0]}")
    words=("${words[@]:1}")
    while ((${#words[@]} > 1)); do
        case ${words[0]} in
        -j | --json) words=("${words[@]:1}") ;;
        --control)
            ((${#words[@]} == 2)) && mapfile -t COMPREPLY < <(compgen -f -- "$current") && return
            ctl+=(--control "${words[1]}")
            words=("${words[@]:2}")
            ;;
        *) break ;;
        esac
    done
    object=${words[0]} verb=${words[1]-} last=$((${#words[@]} - 1))
    case $last in
    0) choices='port bridge fdb worker stats top config version help -j --json --control --help --version' ;;
    1) choices=$(_shuntctl_verbs) ;;
    *) choices=$(_shuntctl_arguments) ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
}

complete -F _shuntctl shuntctl

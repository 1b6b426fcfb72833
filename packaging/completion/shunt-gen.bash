# SPDX-License-Identifier: BSD-3-Clause
#
# Completion of shunt-gen in bash: to be installed as /usr/share/bash-completion/completions/shunt-gen,
# or to be sourced.
#
# shellcheck shell=bash

# The socket up to the first comma, then keys.
_shunt_gen_port() {
    local before=${1%,*}

    if [[ $1 != *,* ]]; then
        compgen -f -- "$1"
        return
    fi
    compgen -P "$before," -W 'server role=both role=send role=sink role=echo queues= ring= packed
        mergeable=on mergeable=off in-order event-idx=off buffer=' -- "${1##*,}"
}

_shunt_gen() {
    local line=${COMP_LINE:0:COMP_POINT} words current choices=

    # Not COMP_WORDS, which bash splits at equals signs too.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=('')
    current=${words[-1]}
    case ${words[-2]-} in
    --port)
        mapfile -t COMPREPLY < <(_shunt_gen_port "$current")
        # Bash replaces only what follows the last equals sign.
        [[ $current == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${current%=*}="}")
        compopt -o nospace
        return
        ;;
    --size) choices=imix ;;
    --touch) choices='none header all' ;;
    --wait) choices='poll sleep' ;;
    --id | --to | --flows | --macs | --gso | --rate | --burst | --window | --count | --duration | --cpu | \
        --timeout | --interval) ;;
    *)
        choices='--port --id --to --size --flows --macs --gso --rate --burst --window --count --duration
            --latency --verify --touch --wait --cpu --timeout --interval --json --version --help'
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
}

complete -F _shunt_gen shunt-gen

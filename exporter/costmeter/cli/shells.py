"""The scripts of `costmeter completion`, one a shell.

In each a walk over the typed words finds the command, and a table by command says what
may follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from costmeter.cli.levels import Flag, Level


def _quoted(text: str) -> str:
    """For bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _plain(text: str) -> str:
    """A help text on one line, with argparse's doubled percent signs undone."""
    return re.sub(r"\s+", " ", text).replace("%%", "%")


def key_of(path: Sequence[str]) -> str:
    return " ".join(("costmeter", *path))


def _keys(levels: Sequence[Level]) -> Iterator[str]:
    """Every command, in the words that lead to it, quoted."""
    return (_quoted(key_of(level.path)) for level in levels if level.path)


def _values(levels: Sequence[Level]) -> Iterator[tuple[str, Flag]]:
    """Patterns of `command:flag` whose value comes next."""
    for level in levels:
        for flag in level.flags:
            if flag.takes_value:
                names = "|".join(_quoted(f"{key_of(level.path)}:{name}") for name in flag.names)
                yield names, flag


_BASH = """\
# Completion of costmeter for bash: source <(costmeter completion bash)
_costmeter() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
  local at=costmeter words='' files='' i
  # bash cuts --flag=value into three words.
  if [[ $cur == '=' ]]; then
    cur=''
  elif [[ $prev == '=' && $COMP_CWORD -ge 2 ]]; then
    prev=${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at ${COMP_WORDS[i]}" in
@WALK@
    esac
  done
  case "$at:$prev" in
@VALUES@
    *)
      case "$at" in
@LEVELS@
      esac
      ;;
  esac
  COMPREPLY=()
  [[ -n $words ]] && mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  if [[ -n $files ]]; then
    local found
    mapfile -t found < <(compgen -f -- "$cur")
    ((${#found[@]})) && compopt -o filenames 2>/dev/null
    COMPREPLY+=("${found[@]}")
  fi
}
complete -F _costmeter costmeter
"""


def bash(levels: Sequence[Level]) -> str:
    values = [
        f"    {names}) words={_quoted(' '.join(flag.words))} files={'1' * flag.files} ;;"
        for names, flag in _values(levels)
    ]
    tables = []
    for level in levels:
        flags = " ".join(name for flag in level.flags for name in flag.names)
        words = " ".join([*(name for name, _ in level.commands), *level.words])
        tables += [
            f"        {_quoted(key_of(level.path))})",
            f"          if [[ $cur == -* ]]; then words={_quoted(flags)}",
            f"          else words={_quoted(words)} files={'1' * level.files}; fi ;;",
        ]
    return _filled(_BASH, levels, values, tables)


_ZSH = """\
#compdef costmeter
# Completion of costmeter for zsh: source <(costmeter completion zsh), after compinit
_costmeter() {
  local cur=${words[CURRENT]} prev=${words[CURRENT-1]} at=costmeter word files=''
  local -a items=()
  if [[ $cur == --*=* ]]; then
    prev=${cur%%=*}
    compset -P '*='
  fi
  for word in ${words[2,CURRENT-1]}; do
    case "$at $word" in
@WALK@
    esac
  done
  case "$at:$prev" in
@VALUES@
    *)
      case "$at" in
@LEVELS@
      esac
      ;;
  esac
  (( ${#items} )) && _describe -V value items
  [[ -n $files ]] && _files
  return 0
}
compdef _costmeter costmeter
"""


def zsh(levels: Sequence[Level]) -> str:
    values = [
        f"    {names}) items=({_items((word, '') for word in flag.words)}) "
        f"files={'1' * flag.files} ;;"
        for names, flag in _values(levels)
    ]
    tables = []
    for level in levels:
        flags = _items((name, flag.about) for flag in level.flags for name in flag.names)
        words = _items([*level.commands, *((word, "") for word in level.words)])
        tables += [
            f"        {_quoted(key_of(level.path))})",
            f"          if [[ $cur == -* ]]; then items=({flags})",
            f"          else items=({words}) files={'1' * level.files}; fi ;;",
        ]
    return _filled(_ZSH, levels, values, tables)


def _items(pairs: Iterable[tuple[str, str]]) -> str:
    """What zsh's _describe takes: word:description."""
    found = []
    for word, about in pairs:
        shown = word.replace(":", "\\:")
        found.append(_quoted(f"{shown}:{_plain(about)}" if about else shown))
    return " ".join(found)


def _filled(
    script: str, levels: Sequence[Level], values: Sequence[str], tables: Sequence[str]
) -> str:
    script = script.replace(
        "@WALK@", "\n".join(f"      {key}) at={key} ;;" for key in _keys(levels))
    )
    script = script.replace("@VALUES@", "\n".join(values))
    return script.replace("@LEVELS@", "\n".join(tables))


_FISH = """\
# Completion of costmeter for fish: costmeter completion fish | source
function __costmeter_at
  set -l at costmeter
  for word in (commandline -opc)[2..-1]
    switch "$at $word"
@WALK@
    end
  end
  test "$at" = "$argv"
end
complete -c costmeter -f
"""


def fish(levels: Sequence[Level]) -> str:
    walk = (f"      case {key}\n        set at {key}" for key in _keys(levels))
    lines = [_FISH.replace("@WALK@", "\n".join(walk)).rstrip("\n")]
    for level in levels:
        when = f"complete -c costmeter -n {_fish_quoted(f'__costmeter_at {key_of(level.path)}')}"
        lines += [
            f"{when} -a {_fish_quoted(name)} -d {_fish_quoted(about)}"
            for name, about in level.commands
        ]
        if level.words:
            lines.append(f"{when} -a {_fish_quoted(' '.join(level.words))}")
        if level.files:
            lines.append(f"{when} -F")
        lines += [_fish_flag(when, flag) for flag in level.flags]
    return "\n".join(lines) + "\n"


def _fish_flag(when: str, flag: Flag) -> str:
    parts = [when]
    parts += [
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names
    ]
    if flag.takes_value:
        parts.append("-r -F" if flag.files else "-x")
    if flag.words:
        parts.append(f"-a {_fish_quoted(' '.join(flag.words))}")
    return " ".join([*parts, f"-d {_fish_quoted(flag.about)}"])


def _fish_quoted(text: str) -> str:
    return "'" + _plain(text).replace("\\", "\\\\").replace("'", "\\'") + "'"

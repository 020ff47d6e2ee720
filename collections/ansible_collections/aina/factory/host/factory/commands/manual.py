"""``factory manual``: the manual page and the shell's completion, made from the parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from factory.outcome import Exit, Outcome

_BASH = """\
_factory() {
  local IFS=$'\\n'
  mapfile -t COMPREPLY < <(compgen -W "$(factory manual --words -- "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)" \\
    -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _factory factory"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``factory manual``."""
    parser.add_argument(
        "--completion", choices=("bash",), help="print what makes a shell complete: source it"
    )
    parser.add_argument(
        "--words", action="store_true", help="print what may follow WORDS, as the completion asks"
    )
    parser.add_argument("typed", nargs="*", metavar="WORDS", help="what is typed already")


def execute(arguments: argparse.Namespace) -> Outcome:
    """Print the page in roff, as ``man -l -`` reads it, or what the completion needs."""
    from factory.__main__ import ALL, build_parser

    parser = build_parser(ALL)
    if arguments.completion:
        return Outcome(Exit.DONE, {"completion": _BASH}, _BASH)
    if arguments.words:
        found = _words(parser, arguments.typed)
        return Outcome(Exit.DONE, {"words": found}, "\n".join(found))
    page = "\n".join(_page(parser))
    return Outcome(Exit.DONE, {"page": page}, page)


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _words(parser: argparse.ArgumentParser, typed: Sequence[str]) -> list[str]:
    """Return the options, subcommands and choices that may come next."""
    for word in typed:
        parser = _subparsers(parser).get(word, parser)
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    options = [text for action in shown for text in action.option_strings]
    asked = [action for action in parser._actions if set(action.option_strings) & {*typed[-1:]}]
    chosen = asked or [action for action in parser._actions if not action.option_strings]
    choices = [str(item) for action in chosen for item in action.choices or ()]
    return choices if asked and choices else sorted({*options, *choices})


def _roff(text: str) -> str:
    """Return text that means nothing to roff."""
    quoted = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + quoted if quoted.startswith((".", "'")) else quoted


def _page(parser: argparse.ArgumentParser) -> Iterator[str]:
    from factory import VERSION

    yield f'.TH FACTORY 8 "" "factory {VERSION}" "aina-factory"'
    yield from (".SH NAME", "factory \\- operate this factory server", ".SH SYNOPSIS")
    yield from (".B factory", ".I COMMAND", "[options]", ".SH COMMANDS")
    for name, command in _subparsers(parser).items():
        yield from (".SS " + _roff(f"factory {name}"), _roff(command.description or ""))
        yield from _options(command)
        for inner, below in _subparsers(command).items():
            yield from (".P", f"\\fBfactory {name} {inner}\\fR {_roff(below.description or '')}")
            yield from _options(below)
    yield from (".SH EXIT STATUS", "0 done, 1 failed, 2 wrong usage or configuration, 75 locked by")
    yield from ("another run, 141 nobody reads on.", ".SH ENVIRONMENT", "NO_COLOR: no colours.")


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
            continue
        names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        words = (action.help or "") % {**vars(action), "prog": parser.prog}
        yield from (".TP", f".B {_roff(names)}", _roff(" ".join(words.split())))

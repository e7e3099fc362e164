"""A shell script as facts: the commands it names in any branch, with what their words can be.

Flow-insensitive: a variable may hold every constant it is assigned anywhere. A word that no
constant explains is None. Nothing is executed; POSIX.1-2017 XCU chapter 2 has the grammar.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from minify.syntax import Node, parse, text, walk

MOST = 8  # values followed per word
LONGEST = 16 << 10  # variables made of variables would double without end
DEPTH = 24  # nesting of expansions followed


@dataclass
class Names:
    """What names mean in a script: the constants a variable may hold, and the functions."""

    script: str
    workdir: str
    values: dict[str, set[str]] = field(default_factory=dict)
    functions: dict[str, bool] = field(default_factory=dict)

    def assign(self, name: str, values: tuple[str, ...]) -> None:
        """Add to what a variable may hold."""
        known = self.values.setdefault(name, set())
        known.update(values[: max(0, 4 * MOST - len(known))])


@dataclass(frozen=True)
class Command:
    """A simple command: for each word everything it may be (empty: unknown)."""

    words: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Script:
    """What one piece of shell text says."""

    commands: tuple[Command, ...]
    words: frozenset[str]
    broken: bool


def read_script(source: bytes, names: Names) -> Script:
    """Parse shell text; `names` learns its variables and functions. Broken text gives less."""
    parsed = parse("bash", source)
    nodes = list(walk(parsed.root))
    _learn(nodes, names)
    _learn(nodes, names)  # a constant may be built from one that is assigned further down
    commands = [_command(node, names) for node in nodes if node.type == "command"]
    words = {w for node in nodes if node.type in WORDS for w in evaluate(node, names)}
    for node in nodes:
        if node.type == "heredoc_content":
            words |= {w.strip("\"';,(){}") for w in text(node).split()}
    words |= {w for command in commands for word in command.words for w in word}
    for inner in _back_quoted(nodes):
        if len(inner) < len(source) - 1:
            more = read_script(inner, names)
            commands += more.commands
            words |= more.words
    return Script(tuple(commands), frozenset(words), parsed.broken)


WORDS = frozenset({"word", "string", "raw_string", "concatenation"})


def _learn(nodes: list[Node], names: Names) -> None:
    for node in nodes:
        if node.type == "variable_assignment":
            name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
            if name is not None and value is not None:
                names.assign(text(name).partition("[")[0], evaluate(value, names))
        elif node.type == "for_statement":
            variable = text(node.child_by_field_name("variable"))
            for child in node.named_children:
                if child.type in VALUES:
                    names.assign(variable, evaluate(child, names))
        elif node.type == "function_definition":
            body = text(node.child_by_field_name("body"))
            runs = any(mark in body for mark in ("$@", "$*", "$1", "${1", "${@"))
            names.functions[text(node.child_by_field_name("name"))] = runs


VALUES = frozenset({"word", "string", "raw_string", "concatenation", "number", "simple_expansion",
                    "expansion", "command_substitution"})  # fmt: skip


def _command(node: Node, names: Names) -> Command:
    head = node.child_by_field_name("name")
    words = [evaluate(head.named_children[0], names) if head and head.named_children else ()]
    words += [
        evaluate(child, names)
        for child in node.named_children
        if child.type not in ("command_name", "variable_assignment", "file_redirect", "comment")
    ]
    return Command(tuple(words))


def _back_quoted(nodes: list[Node]) -> Iterator[bytes]:
    # The grammar leaves `...` inside here-documents as plain text.
    for node in nodes:
        if node.type == "heredoc_content" and b"`" in (node.text or b""):
            yield from (node.text or b"").split(b"`")[1::2]


def evaluate(node: Node, names: Names, depth: int = 0) -> tuple[str, ...]:
    """Everything a word may expand to, as far as constants tell; empty when they do not."""
    if depth > DEPTH:
        return ()
    kind = node.type
    if kind in ("word", "number", "extglob_pattern", "test_operator", "variable_name"):
        return (unescape(text(node)),)
    if kind in ("string_content", "heredoc_content"):
        return (text(node),)
    if kind == "raw_string":
        return (text(node)[1:-1],)
    if kind == "ansi_c_string":
        return (text(node)[2:-1],)
    if kind == "string":
        return _joined([c for c in node.children if c.type != '"'], names, depth)
    if kind in ("concatenation", "array"):
        parts = list(node.children)
        if kind == "array":
            every = [v for c in node.named_children for v in evaluate(c, names, depth + 1)]
            return tuple(every[: 4 * MOST])
        return _joined(parts, names, depth)
    return _expansion(node, names, depth)


def _joined(parts: list[Node], names: Names, depth: int) -> tuple[str, ...]:
    values: tuple[str, ...] = ("",)
    for part in parts:
        more = evaluate(part, names, depth + 1) if part.type not in PLAIN else (text(part),)
        if max(map(len, values), default=0) >= LONGEST:
            break
        values = tuple((a + b)[:LONGEST] for a in values for b in more)[:MOST]
    return values


PLAIN = frozenset({"$", ":", "{", "}", "string_content"})


def _expansion(node: Node, names: Names, depth: int) -> tuple[str, ...]:
    if node.type == "simple_expansion":
        return _variable(text(node)[1:], names)
    if node.type == "command_substitution":
        return _substitution(node, names, depth)
    if node.type != "expansion":
        return ()
    inside = [c for c in node.named_children if c.type != "comment"]
    if not inside or text(node).startswith("${#"):
        return ()
    name = text(inside[0]).partition("[")[0]
    known = _variable(name, names)
    signs = [c.type for c in node.children]
    rest = inside[1:]
    if any(sign in DEFAULTS for sign in signs):
        other = tuple(v for c in rest for v in evaluate(c, names, depth + 1))
        if any("=" in sign for sign in signs):
            names.assign(name, other)
        return tuple(dict.fromkeys([*known, *other]))[:MOST]
    operator = next((s for s in signs if s in ("%", "%%", "#", "##")), "")
    if operator:
        pattern = "".join(text(c) for c in rest)
        return tuple(_trim(v, operator, pattern) for v in known)
    return known if len(inside) == 1 and len(signs) <= 3 else ()


DEFAULTS = frozenset({":-", "-", ":=", "=", ":+", "+"})


def _trim(value: str, operator: str, pattern: str) -> str:
    # Only the idioms for dirname, basename, and a constant prefix or suffix.
    if pattern == "/*" and operator == "%":
        return value.rpartition("/")[0] if "/" in value else value
    if pattern == "*/" and operator == "##":
        return value.rpartition("/")[2]
    if "*" in pattern or "?" in pattern:
        return value
    if operator.startswith("%"):
        return value.removesuffix(pattern)
    return value.removeprefix(pattern)


def _variable(name: str, names: Names) -> tuple[str, ...]:
    if name in ("0", "BASH_SOURCE"):
        return (names.script,) if names.script else ()
    if name == "PWD":
        return tuple({names.workdir, *names.values.get("PWD", ())})
    return tuple(sorted(names.values.get(name, ())))[:MOST]


def _substitution(node: Node, names: Names, depth: int) -> tuple[str, ...]:
    commands = [c for c in walk(node) if c.type == "command"]
    outer = [c for c in commands if _owner(c, node)]
    if not outer:
        return ()
    calls = [[evaluate(w, names, depth + 1) for w in _words(c)] for c in outer]
    heads = [call[0][0] if call and call[0] else "" for call in calls]
    if heads[-1:] == ["pwd"]:  # $(cd DIR && pwd)
        if heads[0] == "cd" and len(calls[0]) > 1:
            return calls[0][-1]
        return (names.workdir,)
    rule = ANSWERS.get(heads[0])
    if rule is None or len(outer) != 1:
        return ()
    return tuple(rule(v) for v in calls[0][-1])[:MOST]


def _same(value: str) -> str:
    return value


ANSWERS: dict[str, Callable[[str], str]] = {
    "dirname": posixpath.dirname,
    "basename": posixpath.basename,
    **dict.fromkeys(("readlink", "realpath", "echo", "which", "command"), _same),
}


def _owner(command: Node, substitution: Node) -> bool:
    """Whether the nearest substitution around a command is this one."""
    at = command.parent
    while at is not None and at.type != "command_substitution":
        at = at.parent
    return at == substitution


def _words(command: Node) -> list[Node]:
    found = []
    for child in command.named_children:
        if child.type == "command_name" and child.named_children:
            found.append(child.named_children[0])
        elif child.type not in ("variable_assignment", "file_redirect"):
            found.append(child)
    return found


def unescape(word: str) -> str:
    """Remove backslash quoting from an unquoted word."""
    if "\\" not in word:
        return word
    out, quoted = "", False
    for char in word:
        if char == "\\" and not quoted:
            quoted = True
            continue
        if not (quoted and char == "\n"):
            out += char
        quoted = False
    return out


def initial(env: Mapping[str, str]) -> dict[str, set[str]]:
    """The variables a script starts with."""
    return {name: {value} for name, value in env.items() if value}


def first_words(source: bytes) -> tuple[str, ...]:
    """The words where a command can begin, by separators alone: for text that does not parse."""
    found: dict[str, None] = {}
    for line in source.decode("utf-8", "surrogateescape").splitlines():
        begins = True
        for sign in ("&&", "||", ";;", "$(", "|", ";", "&", "`", "(", "{", "}", ")", "!"):
            line = line.replace(sign, " ; ")
        for word in line.split():
            if word.startswith("#"):
                break
            if begins and word not in KEYWORDS and "=" not in word and word != ";":
                found.setdefault(word.strip("\"'"))
            begins = word == ";" or word in KEYWORDS or (begins and "=" in word)
    return tuple(found)


KEYWORDS = frozenset({"if", "then", "else", "elif", "fi", "do", "done", "while", "until", "for",
                      "case", "esac", "in", "time", "exec", "command", "function"})  # fmt: skip

"""What MkDocs calls while it builds the pages: lists that the code knows best are put where a page asks for them.

A line ``<!-- generated: commands -->`` in a page becomes the list of that name, made from the code as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

MARK = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)


#: References of docstrings to code, as Sphinx writes them: ``:func:`~package.module.name```.
ROLE = re.compile(r":(?:func|class|meth|data|attr|mod):<code>~?([^<]*)</code>")


def on_page_content(html: str, **_: Any) -> str:
    """Leave of a docstring's reference its last name, which needs no page of its own."""
    return ROLE.sub(lambda role: f"<code>{role[1].rpartition('.')[2]}</code>", html)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the lists in."""
    return MARK.sub(lambda mark: LISTS[mark[1]](), markdown)


def commands() -> str:
    """Every command with its help, arguments and options."""
    return "\n\n".join(_command(name, command) for name, command in walk())


def walk() -> Iterator[tuple[str, Any]]:
    """Name as it is typed, and the command, of every command and group below ``organseg``."""
    from typer.main import get_command

    from pipeline.cli import app

    def below(name: str, group: Any) -> Iterator[tuple[str, Any]]:
        for word, command in group.commands.items():
            yield f"{name} {word}", command
            if hasattr(command, "commands"):
                yield from below(f"{name} {word}", command)

    return below("organseg", get_command(app))


def _command(name: str, command: Any) -> str:
    level = "##" if name.count(" ") == 1 else "###"
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    words = [name, *(["COMMAND"] if hasattr(command, "commands") else []), *(["[OPTIONS]"] if options else [])]
    words += [one.make_metavar(_context(command)) for one in arguments]
    parts = [f"{level} {name}", _text(command.help), f"```text\n{' '.join(words)}\n```"]
    rows = [(f"`{one.make_metavar(_context(command))}`", _text(getattr(one, "help", "")), "") for one in arguments]
    rows += [(_flags(one), _text(one.help), _default(one)) for one in options]
    if rows:
        heads = ("argument or option", "meaning", "default")
        kept = 3 if any(row[2] for row in rows) else 2
        parts.append(_table(heads[:kept], [row[:kept] for row in rows]))
    return "\n\n".join(part for part in parts if part)


def _context(command: Any) -> Any:
    return command.context_class(command)


def _flags(option: Any) -> str:
    return ", ".join(f"`{flag}`" for flag in option.opts)


def _default(option: Any) -> str:
    if option.required:
        return "must be given"
    if isinstance(option.show_default, str):
        return option.show_default
    if option.default is None or option.is_flag or "Sentinel" in str(option.default):
        return ""
    return f"`{option.default}`" if option.default != "" else ""


def configuration() -> str:
    """Every key of a study's config, section by section."""
    from pipeline.core.study import Study

    schema = Study.model_json_schema()
    parts = [_keys(schema, "", schema)]
    for name, section in schema["properties"].items():
        inner = _section(section, schema)
        if inner is not None:
            many = {"organs": "organs.NAME", "models": "models.NAME"}.get(name, name)
            parts += [f"## `{many}`", _text(inner.get("description", "")), _keys(inner, f"{many}.", schema)]
    return "\n\n".join(parts)


def config_keys() -> list[str]:
    """Every key as ``section.key``, as the page of the configuration writes them."""
    return re.findall(r"^\| `([\w.]+)` \|", configuration(), re.MULTILINE)


def _section(value: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any] | None:
    """The section that a key holds, itself, or by name, or nothing."""
    for one in (value, value.get("additionalProperties"), *value.get("anyOf", ())):
        if isinstance(one, dict) and "$ref" in one:
            found: dict[str, Any] = schema["$defs"][one["$ref"].rpartition("/")[2]]
            return found
    return None


def _keys(section: dict[str, Any], prefix: str, schema: dict[str, Any]) -> str:
    needed = set(section.get("required", ()))
    rows = []
    for key, value in section["properties"].items():
        inner = None if prefix else _section(value, schema)
        meaning = _text(value.get("description", "")) or (_text(inner.get("description", "")) if inner else "")
        default = "must be given" if key in needed else "see below" if inner else _json(value.get("default"))
        rows.append((f"`{prefix}{key}`", _kind(value), meaning, default))
    return _table(("key", "value", "meaning", "default"), rows)


def _json(value: Any) -> str:
    import json

    return "" if value is None or value == "" else f"`{json.dumps(value)}`"


def _kind(value: dict[str, Any]) -> str:
    if "enum" in value:
        return " or ".join(f"`{one}`" for one in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    if "anyOf" in value:
        return " or ".join(_kind(one) for one in value["anyOf"] if one.get("type") != "null")
    if "$ref" in value:
        return "section"
    if value.get("type") == "array":
        if "prefixItems" in value:
            return f"{len(value['prefixItems'])} numbers"
        return f"list of {_kind(value['items'])}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return "by name: section" if isinstance(inner, dict) and "$ref" in inner else "mapping"
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}
    bounds = [
        f"{sign} {value[key]:g}"
        for key, sign in (("exclusiveMinimum", ">"), ("minimum", "≥"), ("exclusiveMaximum", "<"), ("maximum", "≤"))
        if key in value
    ]
    return " ".join([words[value["type"]], ", ".join(bounds)]).strip()


def networks() -> str:
    """The registry of networks with their options."""
    from pipeline.networks.registry import REGISTRY

    rows = []
    for entry in REGISTRY.values():
        options = ", ".join(f"`{key}: {_plain(value)}`" for key, value in entry.defaults.items())
        more = "those of the library" if entry.free_options else ""
        name = f"`{entry.name}NAME`" if entry.name.endswith(":") else f"`{entry.name}`"
        dims = " and ".join(f"{dims}-D" for dims in entry.dims)
        rows.append((name, dims, _text(entry.summary), ", ".join(part for part in (options, more) if part)))
    return _table(("name", "for", "what it is", "options and defaults"), rows)


def _plain(value: Any) -> str:
    import json

    return json.dumps(list(value) if isinstance(value, tuple) else value)


def dialects() -> str:
    """The dialects of run lengths, as ``organseg rle dialects`` prints them."""
    from typer.testing import CliRunner

    from pipeline.cli import app

    text = CliRunner().invoke(app, ["rle", "dialects"]).stdout
    table, _, notes = text.partition("\n\n")
    items = [line.partition(": ") for line in notes.strip().splitlines()]
    listed = "\n".join(f"- **`{name}`**: {_text(note)}" for name, _, note in items)
    return f"```text\n{table}\n```\n\n{listed}"


def quiet_variables() -> str:
    """Variables that every process of ours sets, so that no tool calls outside."""
    from pipeline.core.quiet import QUIET

    return _variables(QUIET)


def tracking_variables() -> str:
    """Variables that MLflow's client reads, where the user set none."""
    from pipeline.tracking.env import PATIENCE

    return _variables(PATIENCE)


def _variables(values: Mapping[str, str]) -> str:
    return _table(("variable", "set to"), [(f"`{name}`", f"`{value}`") for name, value in values.items()])


def empty_rules() -> str:
    """The rules for empty masks: figures by case, and in words."""
    from pipeline.metrics.empty import CASE_WORDS, CONVENTIONS, at_empty, rule_text

    rows = []
    for name in CONVENTIONS:
        cells = [f"`{name}`"]
        for case in ("both_empty", "empty_reference", "empty_prediction"):
            figures = at_empty(name, case)
            cells.append(", ".join(f"{key} {_number(figures[key])}" for key in ("dice", "iou", "hd95")))
        rows.append(tuple(cells))
    heads = ("rule", *(CASE_WORDS[case] for case in ("both_empty", "empty_reference", "empty_prediction")))
    return _table(heads, rows) + "\n\n" + "\n".join(f"- {_text(rule_text(name))}" for name in CONVENTIONS)


def _number(value: float) -> str:
    return "left out" if value != value else "infinite" if value == float("inf") else f"{value:g}"


def _text(text: str | None) -> str:
    """Text of a docstring or a help as Markdown: one paragraph a blank line, code in single backticks."""
    paragraphs = [" ".join(part.split()) for part in (text or "").replace("``", "`").split("\n\n")]
    return "\n\n".join(paragraphs)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(heads), *(list(row) for row in rows)]
    cells = [[cell.replace("\n\n", " ").replace("|", "\\|") for cell in line] for line in lines]
    cells.insert(1, ["---"] * len(cells[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


#: What a page may ask for.
LISTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "configuration": configuration,
    "networks": networks,
    "dialects": dialects,
    "quiet-variables": quiet_variables,
    "tracking-variables": tracking_variables,
    "empty-rules": empty_rules,
}

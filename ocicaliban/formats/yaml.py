"""Read YAML that others wrote: bounded in depth, and in what its aliases stand for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ocicaliban.errors import first_line

if TYPE_CHECKING:
    import yaml

DEEPEST = 100
"""How deep values may be nested. Without a limit, the C code of PyYAML ends the process with its stack."""

_ALIASED = 1_000_000
"""How many values aliases may stand for, more than are written out."""


class NotYaml(ValueError):
    """The text is not YAML, or no person can have written it; `line` (from 1) says where, 0 if that is unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def parse_yaml(text: str | bytes) -> Any:
    """Return the value in a YAML text (its first document). Raises NotYaml."""
    import yaml  # slow, and few projects have such a file

    try:
        loader = bounded_loader()(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_aliases(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        if too_deep(exc):
            raise NotYaml("it is nested too deeply") from exc
        raise NotYaml(getattr(exc, "problem", None) or first_line(exc), mark.line + 1 if mark else 0) from exc
    except RecursionError:
        raise NotYaml("it is nested too deeply") from None
    except NotYaml:
        raise
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as exc:
        # What PyYAML's constructors raise for a wrong date, a number of thousands of digits, `!!int ""`, ...
        raise NotYaml(f"a value in it cannot be read: {first_line(exc)}") from exc


def bounded_loader() -> type[yaml.SafeLoader]:
    """Return PyYAML's loader for values without code, which raises RecursionError for what is nested too deeply."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        depth = 0

        # Called around each node. Without it, the C code recurses until the stack ends, which ends this process.
        def descend_resolver(self, *_: object) -> None:
            self.depth += 1
            if self.depth > DEEPEST:
                raise RecursionError

        def ascend_resolver(self) -> None:
            self.depth -= 1

    return Loader


def too_deep(fault: yaml.YAMLError) -> bool:
    """Return whether libyaml itself refused the depth, as its newer versions do before we would."""
    return "nesting depth" in (getattr(fault, "problem", None) or str(fault))


def _check_aliases(root: yaml.Node) -> None:
    """Raise NotYaml if aliases stand for too many values: a few lines of them can stand for billions."""
    counts: dict[int, int] = {}
    under_way: set[int] = set()

    def count(node: yaml.Node) -> int:
        known = counts.get(id(node))
        if known is not None:
            return known
        if id(node) in under_way:
            raise NotYaml("a value in it contains itself", node.start_mark.line + 1)
        under_way.add(id(node))
        counts[id(node)] = total = 1 + sum(map(count, _inner(node)))
        under_way.discard(id(node))
        return total

    if count(root) > len(counts) + _ALIASED:
        raise NotYaml(f"its aliases stand for more than {_ALIASED:,} values")


def _inner(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node.value, list):
        for each in node.value:
            if isinstance(each, tuple):
                yield from each
            else:
                yield each

"""YAML files of users, read so that every mistake in one ends in a line that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from moat_det.errors import UserError
from moat_det.messages import one_line, shown
from moat_det.text import SAVE_AS_UTF_8, NotTextError, read_text


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, of which PyYAML would silently keep the last, and aliases.

    No file of ours needs one, and a few lines of them can stand for more than the memory holds.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"the key {shown(key.value)} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(file: Path) -> Any:
    """Read a YAML file of plain types.

    Raises:
        UserError: It cannot be read, is no text or no YAML, has a key twice or an alias.
    """
    try:
        # Safe: the loader derives from SafeLoader.
        return yaml.load(read_text(file), Loader=_StrictLoader)
    except NotTextError as error:
        raise UserError(f"{file}: not a text file that can be read: {error}; {SAVE_AS_UTF_8}") from error
    except yaml.reader.ReaderError as error:
        raise UserError(f"{file}: not a text file; give a YAML file") from error
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); check its permissions") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{file}{line}: broken YAML: {one_line(error.problem)}; correct the line") from error
    except Exception as error:  # PyYAML's constructors raise anything: `!!int x`, 2020-13-01, brackets without end
        reason = one_line(error) or type(error).__name__
        raise UserError(f"{file}: broken YAML: {reason}; correct the value") from error

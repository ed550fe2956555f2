"""Commands that are groups, too: `zkpot prove MODEL ...` beside `zkpot prove training ...`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

DEFAULT = "(default)"
"""Name of the command that a group is where no other is named; nobody types it."""


class Defaulting(TyperGroup):
    """A group whose command `DEFAULT` takes all arguments that do not begin with another's name.

    Its usage and its help are those of a command that is no group.
    """

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        """The context of the default command, or the group's as ever."""
        if args and args[0] in self.commands and args[0] != DEFAULT:
            return super().make_context(info_name, args, *more, **extra)
        return self.commands[DEFAULT].make_context(info_name, args, *more, **extra)

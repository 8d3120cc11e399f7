"""Server-sent events by their lines. Those without an event are seen too: they tell that the server lives."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class EventLines:
    """Puts lines together to events: `take` returns an event's name and data at its end, else None."""

    _name: str = "message"
    _data: list[str] = field(default_factory=list)

    def take(self, line: str) -> tuple[str, str] | None:
        """Takes the next line, without its end."""
        if not line:
            name, data = self._name, self._data
            self._name, self._data = "message", []
            return (name, "\n".join(data)) if data else None
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            self._name = value
        elif key == "data":
            self._data.append(value)
        return None

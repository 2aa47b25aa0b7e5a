"""What the magics show: HTML in notebooks, text elsewhere; everything in it is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from himalia.cli import texts
from himalia.core.model import Run

_COLOURS = {
    "succeeded": "var(--jp-success-color1, #2e7d32)",
    "failed": "var(--jp-error-color1, #c62828)",
    "stopped": "var(--jp-warn-color1, #b26a00)",
    "skipped": "var(--jp-warn-color1, #b26a00)",
}
_OTHER_COLOUR = "var(--jp-brand-color1, #1565c0)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: str = "Nothing here yet."
    """Shown when there are no rows."""

    def __repr__(self) -> str:
        return "\n".join(texts.table(self.header, self.rows)) if self.rows else self.empty

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{escape(self.empty)}</p>"
        head = "".join(f'<th style="text-align:left">{escape(name)}</th>' for name in self.header)
        body = "".join(_row(row) for row in self.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(cells: Iterable[str]) -> str:
    shown = "".join(f'<td style="text-align:left">{escape(texts.plain(one))}</td>' for one in cells)
    return f"<tr>{shown}</tr>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names and values."""

    pairs: Sequence[tuple[str, str]]

    def __repr__(self) -> str:
        return "\n".join(texts.facts(self.pairs))

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th>'
            f'<td style="text-align:left">{escape(texts.plain(value))}</td></tr>'
            for name, value in self.pairs
            if value
        )
        return f"<table><tbody>{rows}</tbody></table>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A run's log."""

    text: str

    def __repr__(self) -> str:
        return texts.terminal_safe(self.text)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(texts.without_escapes(self.text))}</pre>"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run as it is now; `run` has all of it."""

    run: Run

    def __repr__(self) -> str:
        run = self.run
        head = f"{run.id} {run.status.value} {texts.cells(run)} {texts.took(run)}"
        reason = (run.reason.message, run.reason.next_step) if run.reason else ()
        return "\n".join(
            texts.terminal_safe(line) for line in (" ".join(head.split()), *reason) if line
        )

    def _repr_html_(self) -> str:
        run = self.run
        colour = _COLOURS.get(run.status.value, _OTHER_COLOUR)
        share = _share(run)
        reason = "".join(
            f"<div>{escape(texts.without_escapes(line))}</div>"
            for line in ((run.reason.message, run.reason.next_step) if run.reason else ())
            if line
        )
        return (
            f'<div role="status"><b>{escape(texts.plain(run.workload_name))}</b> '
            f'<span style="color:{colour}">{escape(run.status.value)}</span> '
            f"{escape(texts.cells(run))} {escape(texts.took(run))} <code>{escape(run.id)}</code>"
            '<div style="height:6px;max-width:30em;margin:4px 0;border-radius:3px;'
            'background:var(--jp-layout-color3, #ccc)">'
            f'<div style="height:6px;border-radius:3px;width:{share:.0f}%;background:{colour}">'
            f"</div></div>{reason}</div>"
        )


def _share(run: Run) -> float:
    if run.progress.total:
        return 100 * min(run.progress.done, run.progress.total) / run.progress.total
    return 100.0 if run.status.value == "succeeded" else 0.0

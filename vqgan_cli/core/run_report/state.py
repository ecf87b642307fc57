"""What the state of a run is called, why it is in it, and how to go on from there."""

from __future__ import annotations

import html

from vqgan_cli.core.run_report.reading import RunRecord
from vqgan_cli.core.training.stopping import TIME_LIMIT

__all__ = ["reason_html", "state_html"]

_STATES = {
    "starting": ("starting", "live"),
    "running": ("running", "live"),
    "finished": ("done", "good"),
    "stopped": ("interrupted", "warn"),
    "failed": ("failed", "bad"),
    "killed": ("killed", "bad"),
}
"""Words for each state of a run, and the class that colours them."""

_STOPPED = {
    TIME_LIMIT: "It has stopped at the time limit that was asked for, and was validated and saved.",
    "interrupted": "Ctrl-C has stopped it; everything is saved.",
    "terminated": "SIGTERM has stopped it, such as by a batch scheduler; everything is saved.",
    "hung up": "It has stopped as its terminal was closed; everything is saved.",
}
"""By the reason of a run that has stopped in good order before its last step."""


def state_html(run: RunRecord) -> str:
    """The state in a word."""
    word, colour = _words(run)
    return f'<span class="state {colour}">{html.escape(word)}</span>'


def reason_html(run: RunRecord) -> str:
    """Why it ended, unless all steps are done, and the command that goes on where the run itself has named one."""
    word, colour = _words(run)
    if run.state == "finished" and run.reason not in ("", "all steps done"):
        text = f"ended early: {run.reason}."
    elif run.state == "stopped" and run.reason in _STOPPED:
        text = _STOPPED[run.reason]
    elif run.state == "killed" or (run.state in ("stopped", "failed") and run.reason):
        reason = run.reason or "no process is at work, and none has said why it ended"
        hint = f" {run.status['hint']}" if isinstance(run.status.get("hint"), str) else ""
        text = f"{word}: {reason}.{hint}"
    else:
        return ""
    resume = run.status.get("resume")
    command = f" Go on with: <code>{html.escape(resume)}</code>" if isinstance(resume, str) else ""
    return f'<p class="reason {colour}">{html.escape(text)}{command}</p>'


def _words(run: RunRecord) -> tuple[str, str]:
    if run.state == "stopped" and run.reason == TIME_LIMIT:
        return "time limit reached", "good"
    return _STATES.get(run.state, (run.state, "warn"))

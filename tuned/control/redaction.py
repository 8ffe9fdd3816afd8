"""redaction."""

from __future__ import annotations

from tuned.protocol import Event, FailureView, StoryView, TrialView


def without_output(trial: TrialView) -> TrialView:
    """What the trial printed may stand in the failure's message."""
    failure = trial["failure"]
    return trial if failure is None else {**trial, "failure": FailureView(cause=failure["cause"])}


def story_without_output(story: StoryView) -> StoryView:
    retried = [FailureView(cause=failure["cause"]) for failure in story["retried"]]
    return {**story, "trial": without_output(story["trial"]), "retried": retried}


def event_without_output(event: Event) -> Event:
    failure = event.get("failure")
    return event if failure is None else {**event, "failure": FailureView(cause=failure["cause"])}

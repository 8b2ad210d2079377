"""Trailing metadata of Synthesize, sent once an utterance has ended without an error."""

from ttsw.sessions.utterance import UtteranceReport

RTF = "ttsw-rtf"
"""Compute time by audio time; absent if no audio was made."""
UNREAD_CHARACTERS = "ttsw-unread-characters"
"""Number of characters that the voice can't read; absent if it read everything."""
UNREAD_SCRIPTS = "ttsw-unread-scripts"
"""Scripts of those characters, separated by commas."""


def trailers(report: UtteranceReport) -> dict[str, str]:
    """Return the trailing metadata that reports on an utterance.

    >>> trailers(UtteranceReport(unread={"Thai": 3, "Hebrew": 1}))
    {'ttsw-unread-characters': '4', 'ttsw-unread-scripts': 'Hebrew,Thai'}
    """
    metadata = {} if report.rtf is None else {RTF: f"{report.rtf:.4f}"}
    if report.unread:
        metadata[UNREAD_CHARACTERS] = str(sum(report.unread.values()))
        metadata[UNREAD_SCRIPTS] = ",".join(sorted(report.unread))
    return metadata

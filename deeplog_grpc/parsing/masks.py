"""Values inside a line, recognised by their form alone.

`MASKS` is one pattern over *skeletons* (`skeletons.py`: each word with a digit reads ``0``). It finds the values that
hold separators or no digit at all, so that they become one variable and never anchor a template. What kind of value a
parameter is, once read, is said by `kinds.py`.

Nothing here knows a system's name: each form is one that any operator would call a value.
"""

import re

_UNITS = (
    "b|kb|mb|gb|tb|pb|kib|mib|gib|tib|bytes?|kbytes?|mbytes?|gbytes?|bits?|kbps|mbps|gbps|bps|"
    "ns|us|µs|ms|s|m|h|d|nanos|micros|millis|nsecs?|usecs?|msecs?|secs?|mins?|hrs?|nanoseconds?|microseconds?|"
    "milliseconds?|seconds?|minutes?|hours?|days?|weeks?|hz|khz|mhz|ghz|percent"
)
UNIT = re.compile(rf"(?:{_UNITS})\Z", re.IGNORECASE)
"""A unit of size, time or frequency: right after a number it belongs to the value ("5.2 KB", "30 seconds")."""

DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}"
MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
TOP_LEVEL = "com|net|org|edu|gov|mil|int|info|biz|arpa|local|localdomain|lan|internal"
LITERALS = "true|false|True|False|TRUE|FALSE|null|NULL|nil|None|NaN|undefined"
"""Words that are values wherever they stand, and parts of the patterns below."""

_DATES = "|".join(
    (
        # Sun Jun 04 04:47:44 PDT 2005, Jun 14 15:16:01, 10/Oct/2000:13:55:36 -0700
        rf"(?<!\w)(?:{DAY},?\s+)?{MONTH}\s+0(?:\s+0:0(?::0)?(?:[.,]0)?)?(?:\s+[A-Z]{{2,4}})?(?:,?\s+0)?(?![\w:])",
        rf"(?<!\w)(?:{DAY},?\s+)?0[ /-]{MONTH}[ /-]0(?:[: ]0:0(?::0)?)?(?:\s+(?:[+-]?0|[A-Z]{{2,4}}))?(?!\w)",
        # 2015-10-18 18:01:47,978 (the T form has no blank and needs no help)
        r"(?<![\w./])0(?:/0/0)?\s+0:0:0(?:[.,]0)?(?![\w:])",
    )
)
"""Dates with blanks inside."""

HEAD_DATE = re.compile(rf"(?>{_DATES})(?=\s|\Z)")
"""A date that a line begins with."""

MASKS = "|".join(
    (
        # https://host:8080/a?b=c (up to a bracket, a quote or a comma)
        r"[A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s\"'<>|,;()\[\]{}]+",
        # ops@example.org
        r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+",
        # C:\Windows\x.dll
        r"(?<!\w)[A-Za-z]:\\[^\s\"'<>|,;()\[\]{}]*",
        # /var/log/x, ~/x, ./x, ../x, /10.0.0.1:50010; the colon or dot that ends a sentence stays outside
        r"(?<![^\s=:,;()\[\]{}<>\"'|#])(?:~|\.\.?)?/[^\s\"'<>|,;()\[\]{}]*[^\s\"'<>|,;()\[\]{}:.]",
        _DATES,
        # 00:01, 18:01:47.5
        r"(?<![\w.:])0:0(?::0){0,2}(?:[.,]0)?(?![\w:])",
        # ff:f2:9f:16:e2:23, fe80::1
        r"(?<![\w:])(?=[A-Fa-f:]*0)(?:[0A-Fa-f]{1,4}:{1,2}){2,}[0A-Fa-f]{1,4}(?![\w:])",
        # host:port, where the host shows itself by a dot or a digit
        r"(?<![\w.-])[\w-]*[0.][\w.-]*:0(?!\w)",
        # build.example.com
        rf"(?<![\w.$-])[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:{TOP_LEVEL})(?:\.[a-z]{{2}})?(?![\w-]|\.\w)",
        # true, null: a value by itself
        rf"(?<![\w.$-])(?:{LITERALS})(?![\w$-]|\.\w)",
    )
)
"""Values that a skeleton shows with separators inside, or without any digit (source of a pattern, most exact first)."""

MASKED_WORDS = f"{DAY}|{MONTH}|{LITERALS}"
"""How a mask can begin that begins with letters and a blank (source of a pattern)."""

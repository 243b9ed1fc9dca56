"""Known vulnerabilities of what is installed: ``python -m tools.audit``, a part of ``make lint``.

Asks the advisory service for every pin of constraints.txt. Where the service cannot be reached, that is said in one
line, and is no failure. A finding is, unless ``tools/audit-exceptions.txt`` has its name with a reason.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXCEPTIONS = ROOT / "tools" / "audit-exceptions.txt"
CONSTRAINTS = ROOT / "constraints.txt"
TIMEOUT_S = 300.0
UNREACHABLE = "dependency audit: the advisory service cannot be reached from here, nothing was checked"


def exceptions_in(text: str) -> dict[str, str]:
    r"""Name of an advisory -> why it does not matter here.

    Examples
    --------
    >>> exceptions_in("# ours\nPYSEC-2024-1  not used on the server")
    {'PYSEC-2024-1': 'not used on the server'}
    """
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if bad := [words[0] for words in lines if len(words) < 2]:
        raise SystemExit(f"{EXCEPTIONS.name}: {bad[0]} has no reason")
    return {words[0]: words[1] for words in lines}


def verdict(report: Mapping[str, Any], exceptions: Mapping[str, str]) -> tuple[list[str], bool]:
    """What to say of a report of pip-audit, and whether it is a failure.

    Examples
    --------
    >>> found = {"name": "a", "version": "1", "vulns": [{"id": "X-1", "aliases": [], "fix_versions": ["2"]}]}
    >>> verdict({"dependencies": [found]}, {})
    (['a 1: X-1, mended in 2'], True)
    >>> verdict({"dependencies": [found]}, {"X-1": "not reached"})
    (['dependency audit: 1 packages, no finding'], False)
    >>> verdict({"dependencies": [{"name": "a", "skip_reason": "not found"}]}, {}) == ([UNREACHABLE], False)
    True
    """
    packages = report["dependencies"]
    checked = [package for package in packages if "vulns" in package]
    if not checked:
        return [UNREACHABLE], False
    findings = [
        f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
        for package in checked
        for found in package["vulns"]
        if exceptions.keys().isdisjoint((found["id"], *found["aliases"]))
    ]
    skipped = len(packages) - len(checked)
    said = f"dependency audit: {len(checked)} packages, no finding" + (
        f", {skipped} not known there" if skipped else ""
    )
    return findings or [said], bool(findings)


def main() -> int:
    """Audit; the exit code."""
    asked = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
    try:
        done = subprocess.run(  # noqa: S603 (our own interpreter, and arguments that stand above)
            [*asked, "--progress-spinner", "off", "--format", "json", "--timeout", "10"],
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        report = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        report = {"dependencies": []}
    lines, failed = verdict(report, exceptions_in(EXCEPTIONS.read_text()))
    print(*lines, sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

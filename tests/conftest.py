"""Fixtures for all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# No limits of time: a test must not fail because other programs use the processor. The same examples in every run.
hypothesis.settings.register_profile(
    "house", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("house")

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before torch is imported: threads that wait for busy cores cost most


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first, so that no process is left alone with one of them at the end."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Weights that the user has fetched are none of the tests' business."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIXELSLEUTH_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared material: `../shared` beside the repository, or where PIXELSLEUTH_SHARED says."""
    named = os.environ.get("PIXELSLEUTH_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "samples").is_dir():
        pytest.skip(
            f"needs the shared samples, which are not at {folder}; PIXELSLEUTH_SHARED may name their place"
        )
    return folder


# Processor time of a test, of this process and of those that it started: a figure that other load does not change.
SLOW = 10.0
"""Seconds above which a test carries the mark `slow`: `make check` leaves those out."""
_begun = pytest.StashKey[float]()


def _processor_seconds() -> float:
    return sum(os.times()[:4])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_begun] = _processor_seconds()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.when == "call":
        item.user_properties.append(("processor", _processor_seconds() - item.stash[_begun]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the tests that are slow and do not say so."""
    rows = [
        (seconds, report.nodeid)
        for report in terminalreporter.getreports("passed")
        for name, seconds in report.user_properties
        if name == "processor" and report.when == "call" and seconds > SLOW and "slow" not in report.keywords
    ]
    if rows:
        terminalreporter.section(f"more than {SLOW:.0f} s of processor time, and not marked slow")
    for seconds, name in sorted(rows, reverse=True):
        terminalreporter.write_line(f"{seconds:7.1f} s  {name}")

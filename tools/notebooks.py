"""`make notebooks`: execute the notebooks, and keep their outputs in them.

    python tools/notebooks.py                     # all, in place
    python tools/notebooks.py notebooks/NAME.ipynb

A notebook runs in a folder of its own, beside a link to `recipes/`, as it would in `notebooks/` of a clone; what it
writes there is removed. Only sources and outputs are kept, no times and no names of kernels: a run without a change
leaves no difference but in figures.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 900
"""What a cell may take on a busy machine."""


def execute(path: Path) -> Any:
    """The executed notebook. Raises nbclient's CellExecutionError where a cell fails."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "recipes").symlink_to(ROOT / "recipes")
        work = Path(folder) / "notebooks"
        work.mkdir()
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            coalesce_streams=True,
            kernel_name="python3",
            resources={"metadata": {"path": str(work)}},
            extra_arguments=["--InlineBackend.figure_formats={'jpeg'}"],
        )
        client.execute()
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            if "image/jpeg" in output.get("data", {}):
                output["data"].pop("text/plain", None)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def main(names: list[str]) -> None:
    """Execute the named notebooks, or all, in place."""
    import nbformat

    for path in map(Path, names) if names else NOTEBOOKS:
        print(path.name, flush=True)
        nbformat.write(execute(path), path)


if __name__ == "__main__":
    main(sys.argv[1:])

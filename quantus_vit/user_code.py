"""Finds a callable in a user's own file or package: ``FILE.py:NAME`` and ``package.module:NAME``.

Data sets and models are opened by it. Knows the standard library only.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["describe_error", "load_callable", "names_callable"]


def names_callable(text: str) -> bool:
    """Whether a text has the form ``FILE.py:NAME`` or ``package.module:NAME``; nothing is imported."""
    module, colon, attribute = text.rpartition(":")
    is_module = module.endswith(".py") or all(part.isidentifier() for part in module.split("."))
    return bool(colon) and is_module and attribute.isidentifier()


def load_callable(text: str) -> Callable[..., Any]:
    """Import the callable that a text names.

    Parameters
    ----------
    text : str
        ``FILE.py:NAME``, or ``package.module:NAME`` where the package can be imported.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The text has another form, the module raises when it is imported, or lacks the name.
    TypeError
        The name is nothing that can be called.
    """
    if not names_callable(text):
        raise ValueError(f"a callable is named FILE.py:NAME or package.module:NAME, got {text!r}")
    place, _, attribute = text.rpartition(":")
    try:
        module = _run_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a user's module raises
        raise ValueError(f"{place!r} cannot be imported ({describe_error(error)})") from error
    if not hasattr(module, attribute):
        names = ", ".join(name for name, value in vars(module).items() if callable(value) and name[0] != "_")
        raise ValueError(f"{place!r} has no {attribute!r}; its callables: {names or 'none'}")
    found = getattr(module, attribute)
    if not callable(found):
        raise TypeError(f"{text!r} must be something to call, got {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    # A name of its own: two files called data.py must not be one module, and pickles look modules up by name.
    name = f"{path.stem}_{hashlib.sha256(str(path.resolve()).encode(errors='surrogateescape')).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{str(path)!r} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.parent.resolve())
    sys.path.insert(0, folder)  # so that the file can import its neighbours, as a script does
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(folder)
    return module


def describe_error(error: BaseException) -> str:
    """An exception of a user's code in one line, with the last line of the user's own code on its way, if there is one.

    Examples
    --------
    >>> describe_error(KeyError("weights"))
    "KeyError: 'weights'"
    """
    message = (str(error).strip().splitlines() or [""])[0]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{f': {message}' if message else ''}{where}"


def _is_users(filename: str) -> bool:
    """Whether a file of code is neither this package's, nor Python's, nor an installed library's."""
    path = Path(filename)
    libraries = (Path(__file__).parent, Path(sysconfig.get_path("stdlib")))
    installed = {"site-packages", "dist-packages"}.intersection(path.parts)
    return path.is_file() and not installed and not any(path.is_relative_to(library) for library in libraries)

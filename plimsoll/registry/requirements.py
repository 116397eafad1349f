"""Which releases of which packages a model needs, and whether this process has them."""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Callable
from typing import Any

from plimsoll.data.environment import bringing, version
from plimsoll.errors import Refused
from plimsoll.records.model import PackageMeta
from plimsoll.registry.flavors import parts
from plimsoll.registry.formats.pyfunc import PyFunc

#: Distributions that every package needs, since Plimsoll itself reads and answers with them.
_ALWAYS = ("numpy", "plimsoll", "polars", "scikit-learn", "scipy", "skops")

#: The distribution whose release decides whether a model file of a flavor can be read at all.
_LIBRARY = {"sklearn": "scikit-learn"}


class RequirementWarning(UserWarning):
    """A model runs with another release of a package than the one it was made with."""


def exact(estimator: Any, features: Callable[..., Any] | None) -> dict[str, str]:
    """Return the installed releases of what a model needs, by distribution, and ``python``.

    Args:
        estimator: a fitted estimator; the packages of all objects inside it count, or what MLflow wrote down of its model.
        features: the feature function; the packages that its modules have imported count. May be None.
    """
    roots = {type(part).__module__.partition(".")[0] for part in parts(estimator)} | _imported(features)
    named = estimator.distributions() | {"mlflow-skinny"} if isinstance(estimator, PyFunc) else set()
    names = {name for root in roots - sys.stdlib_module_names - {""} for name in _bringing(root)} | set(_ALWAYS) | named
    found = {name: have for name in names if (have := version(name)) is not None}
    return {**dict(sorted(found.items())), "python": platform.python_version()}


def check(meta: PackageMeta) -> None:
    """Compare what a package was made with to what is installed; smaller differences are a :class:`RequirementWarning`.

    Args:
        meta: the package's ``package.json``.

    Raises:
        Refused: the flavor's library is missing here or has another major or minor release, so its files mean something else.
    """
    library = _LIBRARY.get(meta.flavor, "")
    differing = []
    for name, needed in meta.requirements.items():
        have = platform.python_version() if name == "python" else version(name)
        if have == needed or name == "plimsoll":
            continue
        if name == library and (have is None or have.split(".")[:2] != needed.split(".")[:2]):
            raise Refused(
                f"The model {meta.model!r} was made with {name} {needed}; here is {have or 'none'}.",
                f"Run: pip install '{name}=={needed}', or train the model again.",
            )
        differing.append(f"{name} {needed} (here {have or 'none'})")
    if differing:
        warnings.warn(f"The model {meta.model!r} was made with {', '.join(differing)}.", RequirementWarning, stacklevel=2)


def _imported(features: Callable[..., Any] | None) -> set[str]:
    if features is None:
        return set()
    module = sys.modules.get(features.__module__)
    held = [value for value in vars(module).values()] if module is not None else []
    names = [value.__name__ if isinstance(value, type(sys)) else getattr(value, "__module__", None) for value in held]
    return {name.partition(".")[0] for name in names if isinstance(name, str)}


def _bringing(root: str) -> list[str]:
    # Most are called like what they bring; to look at what each distribution brings takes far longer.
    return [root] if version(root) is not None else bringing(root)

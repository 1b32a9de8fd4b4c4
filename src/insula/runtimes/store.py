"""The runtimes of a platform: built once, addressed by content, looked up by name."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from insula.kernel.errors import Misconfigured, NotFound
from insula.runtimes import packages, rootfs, tree
from insula.runtimes.interpreter import Interpreter, base_interpreter
from insula.runtimes.recipe import SHIPPED, Recipe


@dataclass(frozen=True, slots=True)
class Runtime:
    """A built runtime: ``rootfs`` is a read-only tree whose content has the SHA-256 ``digest``."""

    name: str
    digest: str
    rootfs: Path
    python: str
    packages: tuple[str, ...]


class RuntimeStore:
    """Names in ``directory``; trees in ``cache``, which several platforms of one user may share.

    ::

        directory/<name>.json     which tree the name means
        cache/<digest>/           a sealed tree
        cache/recipes/<key>.json  which tree a recipe gave before, so a second platform builds nothing
    """

    def __init__(self, directory: Path, cache: Path | None = None) -> None:
        self._names = directory
        self._cache = cache or directory
        self._interpreter: Interpreter | None = None

    def get(self, name: str) -> Runtime:
        """Return the runtime called ``name``. Raises ``NotFound`` that says how to build it."""
        told = self._read(self._names / f"{Recipe(name).name}.json")
        if told is None:
            raise NotFound(
                f"there is no runtime {name!r}",
                hint=f"build it: insula runtime build {name} -r requirements.txt",
                field="runtime",
            )
        return told

    def list(self) -> tuple[Runtime, ...]:
        """Return every runtime by name."""
        found = (self._read(path) for path in sorted(self._names.glob("*.json")))
        return tuple(runtime for runtime in found if runtime is not None)

    def ensure_shipped(self, names: Iterable[str] = tuple(SHIPPED)) -> tuple[Runtime, ...]:
        """Build the shipped runtimes that are not there yet. Takes some seconds the first time."""
        known = {name: self._read(self._names / f"{name}.json") for name in names}
        return tuple(runtime or self._make(SHIPPED[name]) for name, runtime in known.items())

    def build(self, name: str, requirements: str = "") -> Runtime:
        """Build a runtime anew from the text of a requirements file; the name then means the new tree.

        A shipped name without requirements gets those it is shipped with. Raises ``InvalidRequest`` for a
        bad name or requirements that can't be met.
        """
        given = Recipe(name, requirements)
        return self._make(given if given.lines() else SHIPPED.get(name, given), fresh=True)

    def verify(self, name: str) -> bool:
        """Whether the tree still has the content its digest says."""
        runtime = self.get(name)
        return tree.digest(runtime.rootfs) == runtime.digest

    def _make(self, recipe: Recipe, *, fresh: bool = False) -> Runtime:
        self._names.mkdir(parents=True, exist_ok=True)
        with self._locked():
            self._interpreter = self._interpreter or base_interpreter()
            known = self._cache / "recipes" / f"{recipe.key(self._interpreter)}.json"
            made = None if fresh else self._read(known)
            made = made or self._raise(recipe, self._interpreter)
            self._write(known, made)
            named = Runtime(recipe.name, made.digest, made.rootfs, made.python, made.packages)
            self._write(self._names / f"{recipe.name}.json", named)
            return named

    def _raise(self, recipe: Recipe, interpreter: Interpreter) -> Runtime:
        """Build in a scratch folder, then rename: a tree under its digest is always whole."""
        scratch = Path(tempfile.mkdtemp(prefix=".build-", dir=self._cache))
        try:
            root = scratch / "root"
            self._lay(recipe, interpreter, root)
            tree.seal(root)
            digest = tree.digest(root)
            final = self._cache / digest
            if not final.exists():
                root.chmod(0o755)  # a folder can only be renamed by its owner while writable
                root.rename(final)
                final.chmod(0o555)
            found = packages.installed(final / interpreter.packages)
            return Runtime(recipe.name, digest, final, interpreter.version, found)
        finally:
            tree.remove(scratch)

    def _lay(self, recipe: Recipe, interpreter: Interpreter, root: Path) -> None:
        lines = recipe.lines()
        if lines:
            bare = self._bare(interpreter)
            tree.clone(bare.rootfs, root)
            target = root / interpreter.packages
            packages.install(lines, target)
            rootfs.add_libraries(interpreter, root, [target])
            packages.compile_all(interpreter, root, interpreter.packages)
        else:
            root.mkdir(mode=0o755)
            rootfs.build(interpreter, root)
            packages.compile_all(interpreter, root, "usr/lib")

    def _bare(self, interpreter: Interpreter) -> Runtime:
        """The bare tree that all others are built upon; its files are shared with them."""
        recipe = SHIPPED["python"]
        known = self._cache / "recipes" / f"{recipe.key(interpreter)}.json"
        made = self._read(known) or self._raise(recipe, interpreter)
        self._write(known, made)
        return made

    def _read(self, path: Path) -> Runtime | None:
        try:
            told = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        root = self._cache / told["digest"]
        if not root.is_dir():
            return None
        return Runtime(told["name"], told["digest"], root, told["python"], tuple(told["packages"]))

    def _write(self, path: Path, runtime: Runtime) -> None:
        fields = asdict(runtime)
        del fields["rootfs"]
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(fields, indent=1))
        fresh.replace(path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One build at a time in a cache, across processes."""
        (self._cache / "recipes").mkdir(parents=True, exist_ok=True)
        state = self._cache.stat()
        if state.st_uid != os.geteuid() or state.st_mode & 0o022:
            raise Misconfigured(
                f"others may write to the runtime cache {self._cache}",
                hint=f"chown it to the user that runs the platform and: chmod go-w {self._cache}",
                field="cache_dir",
            )
        with (self._cache / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

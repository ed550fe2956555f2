"""`kernel`: numba's `njit` with a compile cache that cannot go stale.

numba's own `cache=True` keys an entry on the file of the compiled function alone, so a change in a
helper module (another formula, another constant) would go unseen. Here one directory holds what one
state of the sources compiles to: its name is a digest over every `kernels/**/*.py`, the compiler
versions, the Python version and the host CPU. An entry inside it is one file named by a digest of
the function, the caller's `key`, the argument types and the target. There is no index to fall out
of step, so concurrent processes only ever replace a file by an equal one (atomic rename).

Entries are numba's serialized object code, which executes when loaded. Therefore the directory must
belong to the user and be writable by nobody else, see `kernels.private_folder` (else a private
temporary one is taken, else there is no cache), and each file carries a checksum: one that is
truncated or altered is compiled anew.

Nothing compiles at import: the first call with given argument types does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast, overload

import llvmlite
import llvmlite.binding as llvm
import numba
from numba.core import sigutils, types
from numba.core.caching import _Cache
from numba.core.codegen import CPUCodegen, JITCodeLibrary
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.core.errors import NumbaWarning
from numba.core.registry import CPUDispatcher
from numba.core.runtime import rtsys
from numba.core.serialize import dumps
from numba.core.typing import Signature

from kernels.files import PRIVATE, write_whole
from kernels.private_folder import make_private_folder

F = TypeVar("F", bound=Callable[..., object])
Declared: TypeAlias = str | Signature | None
Option: TypeAlias = bool | str
Arguments: TypeAlias = Signature | tuple[types.Type, ...]

KEEP_DIRECTORIES = 4  # states of the sources whose compiled code is kept
_CHECKSUM_BYTES = 32
_OPTIONS: dict[str, Option] = {
    "nopython": True,
    "nogil": True,
    "boundscheck": False,
    "error_model": "numpy",
}


@overload
def kernel(fn: F, *, signature: Declared = ..., key: str = ..., **options: Option) -> F: ...
@overload
def kernel(
    fn: None = ..., *, signature: Declared = ..., key: str = ..., **options: Option
) -> Callable[[F], F]: ...
def kernel(
    fn: F | None = None, *, signature: Declared = None, key: str = "", **options: Option
) -> F | Callable[[F], F]:
    """Compile `fn` with numba on first call, releasing the GIL, unchecked bounds, cached on disk.

    signature : numba signature, e.g. "void(uint64[:,::1], int64)". Arguments of other types are
                converted if they can be, else the call raises TypeError. None: one compilation for
                each combination of argument types.
    key       : names the variant when a factory makes several kernels from one function text (which
                lanes, which field, ...). It stands for the values in the closure, which are not
                looked at: a function with a closure must have one, and equal keys must mean equal
                closures.
    options   : further `numba.njit` options, e.g. parallel=True, inline="always", fastmath.
    """

    def wrap(function: F) -> F:
        if function.__closure__ and not key:
            raise ValueError(f"kernel {function.__qualname__}: a closure needs a cache key")
        if key:
            # Linker symbols derive from this name. Two variants compiled in different processes
            # and loaded into a third would otherwise share one, and one replace the other.
            function.__qualname__ = f"{function.__qualname__}[{key}]"
        dispatcher = Kernel(function, signature=signature, key=key, options=_OPTIONS | options)
        return cast(F, dispatcher)

    return wrap if fn is None else wrap(fn)


@cache
def source_digest() -> str:
    """Hex digest of everything outside a function that decides what it compiles to."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}:{content}\n".encode())
    features = sorted(llvm.get_host_cpu_features().items())
    versions = (numba.__version__, llvmlite.__version__, sys.version, platform.machine())
    digest.update(repr((versions, llvm.get_host_cpu_name(), features)).encode())
    return digest.hexdigest()[:24]


@cache
def cache_directory() -> Path | None:
    """Where compiled kernels of this state of the sources live; None if there is no safe place."""
    return private_directory("jit", source_digest())


def private_directory(kind: str, state: str) -> Path | None:
    """Where this user alone keeps what one state of the sources found; None without a safe place.

    `$ZKPOT_CACHE_DIR`, else the platform's per-user cache, else a private directory under the
    temporary one. Older states of a kind beyond `KEEP_DIRECTORIES` are removed.
    """
    for find in (_user_cache, _temporary):
        try:
            base = find()
            make_private_folder(base)
            directory = base / f"{kind}-{state}"
            make_private_folder(directory)
            tempfile.TemporaryFile(dir=directory).close()
            os.utime(directory)
        except (OSError, RuntimeError):  # the latter: a user without a home folder
            continue
        _prune(base, keep=directory)
        return directory
    return None


def lend_directory(name: str, *, variable: str, without: str) -> None:
    """A folder of the cache for another package's own, by the variable that this package reads.

    without : the variable that makes it do without, for when there is no safe place
    holds   : what the environment says already stays
    """
    if variable not in os.environ:
        directory = cache_directory()
        chosen = (without, "1") if directory is None else (variable, str(directory / name))
        os.environ.setdefault(*chosen)


def _user_id() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _user_cache() -> Path:
    chosen = os.environ.get("ZKPOT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "zkpot"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "zkpot"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zkpot"


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"zkpot-{_user_id()}"


def _prune(base: Path, *, keep: Path) -> None:
    """Remove the least recently used states of a kind beyond `KEEP_DIRECTORIES`, if possible."""
    kind = keep.name.rpartition("-")[0]
    aged: list[tuple[float, Path]] = []
    for path in base.glob(f"{kind}-*"):
        with contextlib.suppress(OSError):  # removed by another process meanwhile
            aged.append((path.stat().st_mtime, path))
    others = [path for _, path in sorted(aged, reverse=True) if path != keep]
    for path in others[KEEP_DIRECTORIES - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


class _StoredLibrary(JITCodeLibrary):  # type: ignore[misc]  # numba ships no types
    """Machine code from the cache, and bitcode, parsed when a kernel that calls it is compiled."""

    def load(self, code: bytes, bitcode: bytes, names: set[str]) -> None:
        """names : of what the code defines and others may ask for"""
        self._bitcode, self._shared_module = bitcode, None
        self.enable_object_caching()
        self._set_compiled_object(code)
        self._finalize_final_module()
        self.codegen._engine._defined_symbols |= names

    def _get_module_for_linking(self) -> llvm.ModuleRef:
        if self._shared_module is None:
            self._shared_module = llvm.parse_bitcode(self._bitcode)
        return self._shared_module


def _rebuild(
    target: CPUContext,
    stored: tuple[str, str, tuple[bytes, bytes]],
    described: Any,
    environment: Any,
    *others: Any,
) -> CompileResult:
    """What `CompileResult._reduce` took apart, less the environments of all that the kernel calls.

    Those hold what numba's own functions print or box; to rebuild them imports modules, and to list
    the functions of the bitcode asks LLVM for each: three quarters of the time that a kernel took
    to load.
    """
    name, _, (code, bitcode) = stored
    library = _StoredLibrary(target.codegen(), name)
    names = (described.llvm_func_name, described.llvm_cpython_wrapper_name, described.env_name)
    library.load(code, bitcode, set(names))
    signature, is_objectmode, lifted, annotation, reload_init = others
    return CompileResult(
        target_context=target,
        typing_context=target.typing_context,
        library=library,
        environment=environment,
        entry_point=target.get_executable(library, described, environment),
        fndesc=described,
        type_annotation=annotation,
        signature=signature,
        objectmode=is_objectmode,
        lifted=lifted,
        typing_error=None,
        call_helper=None,
        metadata=None,
        reload_init=reload_init,
        referenced_envs=(),
    )


class _KernelCache(_Cache):  # type: ignore[misc]  # numba ships no types
    """One checked file per compiled overload of one kernel."""

    def __init__(
        self, function: Callable[..., object], key: str, options: dict[str, Option]
    ) -> None:
        code = function.__code__
        try:
            text = hashlib.sha256(Path(code.co_filename).read_bytes()).hexdigest()
        except OSError:  # entered interactively
            text = code.co_code.hex() + repr(code.co_consts)
        self._name = f"{function.__module__}.{function.__name__}"
        self._identity = (
            function.__module__,
            function.__qualname__,
            code.co_firstlineno,
            text,
            key,
            sorted(options.items()),
        )

    @property
    def cache_path(self) -> str | None:
        directory = cache_directory()
        return str(directory) if directory else None

    def _file(self, signature: Arguments, codegen: CPUCodegen) -> Path | None:
        directory = cache_directory()
        if directory is None:
            return None
        identity = repr((self._identity, str(signature), codegen.magic_tuple()))
        digest = hashlib.sha256(identity.encode()).hexdigest()[:32]
        return directory / f"{self._name[-80:]}-{digest}.nbc"

    def load_overload(self, sig: Arguments, target_context: CPUContext) -> CompileResult | None:
        """The stored compile result, or None when there is none that can be used.

        Compiled code needs numba's runtime, and none of the 30 modules with implementations that a
        refresh of the context imports, for 0.1 to 0.2 s: who compiles refreshes it.
        """
        rtsys.initialize(target_context)
        path = self._file(sig, target_context.codegen())
        if path is None:
            return None
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        checksum, payload = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
        if hashlib.sha256(payload).digest() != checksum:
            return None
        # read from a private directory, after the checksum
        library, described = pickle.loads(payload)
        return _rebuild(target_context, library, *described)

    def save_overload(self, sig: Arguments, data: CompileResult) -> None:
        """Store a compile result; if the disk refuses, the next process compiles again."""
        path = self._file(sig, data.codegen)
        if path is None:
            return
        if data.library.has_dynamic_globals or any(not part.can_cache for part in data.lifted):
            warnings.warn(f"kernel {self._name} cannot be cached", NumbaWarning, stacklevel=2)
            return
        library, *described, _environments = data._reduce()
        payload = dumps((library, described))
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            checksum = hashlib.sha256(payload).digest()
            write_whole(path, [checksum, payload], mode=PRIVATE, is_cache=True)

    def enable(self) -> None:
        """Part of numba's interface; this cache is always on."""

    def disable(self) -> None:
        """Part of numba's interface; this cache is always on."""

    def flush(self) -> None:
        """Forget every overload of this kernel on disk."""
        directory = cache_directory()
        for path in directory.glob(f"{self._name[-80:]}-*.nbc") if directory else ():
            path.unlink(missing_ok=True)


class Kernel(CPUDispatcher):  # type: ignore[misc]  # numba ships no types
    """A lazily compiled numba function over `_KernelCache`, with an optional declared signature."""

    def __init__(
        self,
        py_func: Callable[..., object],
        locals: dict[str, types.Type] | None = None,
        targetoptions: dict[str, Option] | None = None,
        *,
        signature: Declared = None,
        key: str = "",
        options: dict[str, Option] | None = None,
    ) -> None:
        super().__init__(py_func, locals or {}, targetoptions or options or {})
        self.declared = signature
        self._cache = _KernelCache(py_func, key, self.targetoptions)

    def enable_caching(self) -> None:
        """Part of numba's interface; kernels are always cached."""

    def compile(self, sig: Arguments) -> Callable[..., object]:
        """Entry point for these argument types: of the declared signature if there is one."""
        if self.declared is None:
            entry: Callable[..., object] = super().compile(sig)
            return entry
        wanted, _ = sigutils.normalize_signature(self.declared)
        given, _ = sigutils.normalize_signature(sig)
        convertible = len(given) == len(wanted) and all(
            self.typingctx.can_convert(a, b) is not None for a, b in zip(given, wanted, strict=True)
        )
        if not convertible:
            raise TypeError(f"kernel {self.py_func.__qualname__}{wanted} called with {given}")
        with global_compiler_lock:  # of several threads that find it uncompiled, the first compiles
            if not self.overloads:
                super().compile(self.declared)
                # With nothing left to compile, numba itself converts arguments of other types or
                # refuses them; else each such call would come back here, for 0.3 ms.
                self.disable_compile()
            (result,) = self.overloads.values()
        entry = result.entry_point
        return entry

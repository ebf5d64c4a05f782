"""What became of every tensor when a model was filled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vision2seq.errors import WeightsMismatchError


@dataclass
class LoadingReport:
    """The account of one loading: a name that is in none of these lists was found and used.

    Attributes:
        missing_keys: Names of the model that no file had; they were newly initialised.
        unexpected_keys: Names of the files that the model does not have.
        mismatched_keys: ``(name, shape in the file, shape in the model)``; newly initialised.
        error_msgs: Anything else worth telling, one sentence each.
        tied_keys: Names of the model that share their tensor with another name, and were not filled on their own.
        harmless_keys: Names of the files that carry nothing the model needs, such as buffers of old releases.
        converted_keys: ``(name in the file, name in the model)`` of tensors that another framework, or an old release,
            calls otherwise.
    """

    missing_keys: list[str] = field(default_factory=list)
    unexpected_keys: list[str] = field(default_factory=list)
    mismatched_keys: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    error_msgs: list[str] = field(default_factory=list)
    tied_keys: list[str] = field(default_factory=list)
    harmless_keys: list[str] = field(default_factory=list)
    converted_keys: list[tuple[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the lists as a dict: the four keys of transformers' ``output_loading_info`` and the three of ours."""
        return {
            "missing_keys": list(self.missing_keys),
            "unexpected_keys": list(self.unexpected_keys),
            "mismatched_keys": list(self.mismatched_keys),
            "error_msgs": list(self.error_msgs),
            "tied_keys": list(self.tied_keys),
            "harmless_keys": list(self.harmless_keys),
            "converted_keys": list(self.converted_keys),
        }

    def refuse_gaps(self, source: str, format_name: str) -> None:
        """Refuse a file of a foreign format that does not hold just the tensors of the model.

        Whoever writes such a file writes all of it, and training goes on elsewhere: what does not fit is another model.

        Args:
            source: What to call the files.
            format_name: What to call their format.

        Raises:
            WeightsMismatchError: Tensors are missing, or there are some that the model does not have.
        """
        parts = []
        if self.missing_keys:
            parts.append(f"{len(self.missing_keys)} tensors of the model are missing ({some(self.missing_keys)})")
        if self.unexpected_keys:
            parts.append(f"{len(self.unexpected_keys)} are none of the model's ({some(self.unexpected_keys)})")
        if parts:
            raise WeightsMismatchError(
                f"{source} is not complete as a checkpoint of {format_name}: {'; '.join(parts)}. Download it again; a "
                "model that was changed since cannot be read by anything but its own code."
            )

    def warning_text(self, source: str = "the checkpoint") -> str | None:
        """Return one warning that names everything a user should know, or None if every tensor found its place.

        Args:
            source: What to call the files in the text, e.g. the path that was loaded.
        """
        parts = []
        if self.missing_keys:
            parts.append(
                f"{len(self.missing_keys)} not in the files and newly initialised ({some(self.missing_keys)}); "
                "train the model before you trust its output"
            )
        if self.mismatched_keys:
            parts.append(
                f"{len(self.mismatched_keys)} of another shape than the config asks for and newly initialised "
                f"({some([mismatch_text(*entry) for entry in self.mismatched_keys])})"
            )
        if self.unexpected_keys:
            parts.append(f"{len(self.unexpected_keys)} in the files but not used ({some(self.unexpected_keys)})")
        parts.extend(self.error_msgs)
        return f"Not every weight of {source} found its place: {'; '.join(parts)}." if parts else None


def mismatch_text(name: str, in_file: tuple[int, ...], in_model: tuple[int, ...]) -> str:
    """Say in a few words that a tensor has one shape in the file and another in the model."""
    return f"{name}: {list(in_file)} in the file, {list(in_model)} in the model"


def some(names: list[str], limit: int = 12) -> str:
    """Join the first names, and count the rest."""
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more

"""Documents of releases that were read, by release id: a release is frozen, so each is right for ever."""

from collections import OrderedDict
from uuid import UUID

from oneiro.interpreters.models import InterpreterDocument


class DocumentCache:
    """The documents used last, of at most this many bytes as JSON in all."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[UUID, tuple[InterpreterDocument, int]] = OrderedDict()

    def get(self, release_id: UUID) -> InterpreterDocument | None:
        """The document of a release, which counts as used now."""
        if release_id not in self._kept:
            return None
        self._kept.move_to_end(release_id)
        return self._kept[release_id][0]

    def keep(self, release_id: UUID, document: InterpreterDocument, size: int) -> InterpreterDocument:
        """Keep a document of so many bytes in place of those that were not used for longest; the one that is kept."""
        known = self.get(release_id)
        if known is not None:
            return known  # Another task read it meanwhile: what is made from a document is found by the one object.
        self._kept[release_id] = (document, size)
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._bytes -= self._kept.popitem(last=False)[1][1]
        return document

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._bytes = 0

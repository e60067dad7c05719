from collections.abc import Callable
from uuid import uuid4

from oneiro.interpreters.document_cache import DocumentCache
from oneiro.interpreters.models import InterpreterDocument

Make = Callable[..., InterpreterDocument]


def test_what_was_not_used_for_longest_makes_room(make: Make) -> None:
    cache = DocumentCache(most_bytes=30)
    old, used, new = (uuid4() for _ in range(3))
    cache.keep(used, make(name="used"), 10)
    cache.keep(old, make(name="old"), 10)
    assert cache.get(used) == make(name="used")
    cache.keep(new, make(name="new"), 20)
    assert (cache.get(old), cache.get(used), cache.get(new)) == (None, make(name="used"), make(name="new"))


def test_it_holds_no_more_bytes_than_it_may_however_many_come(make: Make) -> None:
    cache = DocumentCache(most_bytes=100)
    ids = [uuid4() for _ in range(50)]
    for release_id in ids:
        cache.keep(release_id, make(), 9)
    assert [cache.get(release_id) is not None for release_id in ids] == [False] * 39 + [True] * 11


def test_a_document_that_alone_is_too_large_is_not_kept(make: Make) -> None:
    cache = DocumentCache(most_bytes=10)
    release_id = uuid4()
    document = make()
    assert cache.keep(release_id, document, 11) is document
    assert cache.get(release_id) is None


def test_of_two_that_read_a_document_at_once_both_get_the_same(make: Make) -> None:
    cache = DocumentCache(most_bytes=100)
    release_id, first, second = uuid4(), make(), make()
    assert cache.keep(release_id, first, 60) is first
    assert cache.keep(release_id, second, 60) is first

"""The tree of errors: each says who must act, with a stable code, and the drawing is complete."""

import inspect

from insula.kernel import errors
from insula.kernel.errors import InsulaError, IsolationBreach


def _classes() -> list[type[InsulaError]]:
    found = [
        one
        for _, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, InsulaError) and one is not InsulaError
    ]
    assert len(found) > 15
    return found


def test_every_error_is_drawn_in_the_tree() -> None:
    assert errors.__doc__ is not None
    for one in _classes():
        assert one.__name__ in errors.__doc__


def test_leaf_codes_are_unique() -> None:
    leaves = [one for one in _classes() if not one.__subclasses__()]
    codes = [one.code for one in leaves]
    assert len(set(codes)) == len(codes)


def test_status_fits_who_must_act() -> None:
    for one in _classes():
        if issubclass(
            one, errors.CallerError | errors.AccessError | errors.ConflictError | errors.LimitError
        ):
            assert 400 <= one.status < 500
        else:
            assert 500 <= one.status < 600


def test_a_breach_passes_through_a_broad_except() -> None:
    assert not issubclass(IsolationBreach, Exception)

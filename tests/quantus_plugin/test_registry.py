"""Names: registering, clashes, entry points, and leaving Quantus as it was."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import quantus

import quantus_vit
from quantus_vit import tables
from quantus_vit.quantus_plugin import compat, dispatcher, is_registered
from quantus_vit.quantus_plugin.registry import ENTRY_POINT_GROUP, METHODS

from .conftest import InputTimesGradient

BUILT_IN = ["TransformerLRP", "AttnLRP", "AttentionRollout", "GenericAttention", "LimeCXR"]


def constants():
    return sys.modules["quantus.helpers.constants"]


def state_of_quantus():
    """What unregistering has to restore: the names and values of every module of Quantus, and its lists."""
    modules = {name: dict(vars(module)) for name, module in sys.modules.items() if name.split(".")[0] == "quantus"}
    lists = {
        name: (id(value), list(value) if isinstance(value, list) else set(value))
        for name, value in vars(constants()).items()
        if name.startswith("AVAILABLE") and isinstance(value, (list, set))
    }
    explain = compat.explain_function()
    return modules, lists, explain.__module__, dict(vars(explain))


def listed() -> set[str]:
    return {name for names in compat.name_lists() for name in names}


def test_the_built_in_names():
    assert quantus_vit.available_methods()[:5] == BUILT_IN
    assert set(BUILT_IN) <= listed()
    if hasattr(quantus, "available_methods_captum"):
        assert set(BUILT_IN) <= set(quantus.available_methods_captum())


def test_unregister_leaves_quantus_as_it_was_and_register_comes_back():
    quantus_vit.unregister()
    try:
        before = state_of_quantus()
        quantus_vit.register()
        during = state_of_quantus()
        assert during != before
        quantus_vit.register_method("Extra", InputTimesGradient)
        quantus_vit.unregister()
        after = state_of_quantus()
        assert after[1:] == before[1:]
        for name, namespace in before[0].items():
            assert after[0][name].keys() == namespace.keys(), name
            changed = [key for key, value in namespace.items() if after[0][name][key] is not value]
            assert not changed, (name, changed)
    finally:
        quantus_vit.unregister_method("Extra")
        quantus_vit.register()
    assert set(BUILT_IN) <= listed()


def test_both_are_idempotent(plain, batch, explain):
    function = compat.explain_function().__globals__["get_explanation"]
    quantus_vit.register()
    assert compat.explain_function().__globals__["get_explanation"] is function
    quantus_vit.unregister()
    quantus_vit.unregister()
    assert not is_registered()
    assert not set(BUILT_IN) & listed()
    quantus_vit.register()
    assert is_registered()
    assert sorted(listed()) == sorted(set(listed()))


def test_one_unregister_undoes_any_number_of_registers():
    original = compat.explain_function().__globals__["get_explanation"].original
    for _ in range(3):
        quantus_vit.register()
    quantus_vit.unregister()
    try:
        assert not is_registered()
        assert compat.explain_function().__globals__["get_explanation"] is original
    finally:
        quantus_vit.register()


def test_someone_elses_patch_over_ours_survives(plain, batch, method, explain):
    namespace = compat.explain_function().__globals__
    ours = namespace["get_explanation"]

    def theirs(*args, **kwargs):
        return ours(*args, **kwargs)

    namespace["get_explanation"] = theirs
    try:
        quantus_vit.register()  # Already there, under theirs.
        assert namespace["get_explanation"] is theirs
        quantus_vit.unregister()
        assert namespace["get_explanation"] is theirs
        assert method not in listed()
        if compat.installed("captum"):
            with pytest.raises(KeyError):  # Handed on to Quantus, which does not know the name.
                explain(plain, batch[0], batch[1], method=method)
        quantus_vit.register()
        assert explain(plain, batch[0], batch[1], method=method).shape == (3, 1, 16, 16)
        quantus_vit.unregister()
        assert namespace["get_explanation"] is theirs
    finally:
        namespace["get_explanation"] = ours.original
        quantus_vit.register()


def test_names_come_and_go_in_quantus_lists():
    quantus_vit.register_method("Extra", InputTimesGradient)
    assert "Extra" in listed()
    assert "Extra" in quantus_vit.available_methods()
    quantus_vit.unregister_method("Extra")
    assert "Extra" not in listed()
    assert "Extra" not in quantus_vit.available_methods()


def test_clashes():
    with pytest.raises(ValueError, match="there is a method 'TransformerLRP' already"):
        quantus_vit.register_method("TransformerLRP", InputTimesGradient)
    with pytest.raises(ValueError, match="Quantus has a method 'Saliency' itself"):
        quantus_vit.register_method("Saliency", InputTimesGradient)
    with pytest.raises(ValueError, match="unknown method 'NoSuch'"):
        quantus_vit.unregister_method("NoSuch")


def test_overwriting_a_method_of_quantus_and_giving_it_back(plain, batch, explain):
    if not compat.installed("captum"):
        pytest.skip("without Captum")
    x, y, _ = batch
    theirs = explain(plain, x, y, method="Saliency")
    before = listed()
    quantus_vit.register_method("Saliency", InputTimesGradient, overwrite=True)
    try:
        ours = explain(plain, x, y, method="Saliency")
    finally:
        quantus_vit.unregister_method("Saliency")
    assert np.abs(ours - theirs).max() > 0
    np.testing.assert_array_equal(explain(plain, x, y, method="Saliency"), theirs)
    assert listed() == before


@pytest.mark.parametrize("wrong", [3, "TransformerLRP", None, dict])
def test_what_is_no_explainer(wrong):
    with pytest.raises(TypeError, match="'Wrong'"):
        quantus_vit.register_method("Wrong", wrong)
    with pytest.raises(TypeError, match="non-empty string"):
        quantus_vit.register_method("", InputTimesGradient)


@pytest.fixture
def entry_points_of_others(monkeypatch) -> Iterator[None]:
    """Packages that offer a method that works, one whose name is taken, one that Quantus has, and a broken one."""
    here = f"{InputTimesGradient.__module__}:InputTimesGradient"
    offered = {"FromElsewhere": here, "TransformerLRP": here, "Saliency": here, "Missing": "no_such_module:Thing"}
    found = [EntryPoint(name, value, ENTRY_POINT_GROUP) for name, value in offered.items()]
    monkeypatch.setattr(tables, "entry_points", lambda group: found if group == ENTRY_POINT_GROUP else [])
    monkeypatch.setattr(METHODS, "_discovered", False)
    quantus_vit.unregister()
    yield
    for name in ("FromElsewhere", "Missing"):
        quantus_vit.unregister_method(name)
    quantus_vit.register()


def test_entry_points_of_other_packages(entry_points_of_others, plain, batch, explain):
    with pytest.warns(UserWarning, match="is left out") as caught:
        quantus_vit.register()
    left_out = " ".join(str(warning.message) for warning in caught)
    assert "there is a method 'TransformerLRP' already" in left_out
    assert ("Quantus has a method 'Saliency' itself" in left_out) == ("Saliency" in compat.method_names())
    assert explain(plain, batch[0], batch[1], method="FromElsewhere").shape == (3, 1, 16, 16)
    with pytest.raises(ImportError, match="the method 'Missing' needs 'no_such_module:Thing'"):
        explain(plain, batch[0], batch[1], method="Missing")


def test_names_of_other_packages_are_listed_where_asking_for_them_imports_quantus(entry_points_of_others, monkeypatch):
    names = compat.method_names

    def names_after_import() -> frozenset[str]:
        quantus_vit.register()  # as the import hook does
        return names()

    monkeypatch.setattr(compat, "method_names", names_after_import)
    with pytest.warns(UserWarning, match="is left out"):
        assert "Missing" in quantus_vit.available_methods()
    assert {"FromElsewhere", "Missing"} <= listed()


def test_registering_from_many_threads():
    failures = []

    def work(index: int) -> None:
        try:
            for turn in range(20):
                quantus_vit.register_method(f"T{index}-{turn}", InputTimesGradient)
                quantus_vit.register()
                quantus_vit.unregister_method(f"T{index}-{turn}")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert quantus_vit.available_methods()[:5] == BUILT_IN
    assert not {name for name in listed() if name.startswith("T") and "-" in name}


def test_a_version_outside_the_tested_range_warns(monkeypatch):
    monkeypatch.setattr(compat, "installed_version", lambda: "99.1.0rc2")
    quantus_vit.unregister()
    with pytest.warns(UserWarning, match=r"Quantus 99\.1\.0rc2 has not been tested"):
        dispatcher.register_on_import()
    assert is_registered()


def test_a_tested_version_does_not_warn(recwarn):
    dispatcher.register_on_import()
    assert not [warning for warning in recwarn if "quantus-vit" in str(warning.message)]


def test_a_quantus_that_explains_otherwise_is_refused_with_words(monkeypatch):
    try:
        with monkeypatch.context() as patched:
            patched.setattr(compat, "explain_function", lambda: eval("lambda: None", {}))
            with pytest.raises(ImportError, match="explains in a way"):
                quantus_vit.register()
        assert not is_registered()
    finally:
        quantus_vit.register()
    assert is_registered()


@pytest.mark.parametrize(
    ("version", "numbers"), [("0.6.0", (0, 6, 0)), ("0.7", (0, 7)), ("1.0rc1", (1, 0)), ("unknown", ())]
)
def test_release(version, numbers):
    assert compat.release(version) == numbers

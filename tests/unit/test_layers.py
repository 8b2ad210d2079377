"""Imports: no cycles, those under TYPE_CHECKING included. The layers themselves are import-linter's to check."""

from collections import defaultdict
from graphlib import CycleError, TopologicalSorter

import pytest

grimp = pytest.importorskip("grimp", reason="grimp comes with import-linter, of the dependency group `dev`")


def test_no_modules_import_each_other():
    graph = grimp.build_graph("ttsw")
    imports = defaultdict(set)
    for module in graph.modules:
        imports[module] = graph.find_modules_directly_imported_by(module)
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))

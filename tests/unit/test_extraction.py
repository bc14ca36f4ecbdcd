"""How the catalogue is made anew from a libvirt that has more than anybody has looked up."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from extraction.extractor import DESCRIPTIONS, Extractor

API = Path("/usr/share/libvirt/api")
SCRIPT = Path(__file__).parents[2] / "scripts" / "extract_catalogue.py"
NEW_FUNCTION = """<function name='virDomainFlyToMars' file='libvirt-domain' module='libvirt-domain' version='99.0.0'>
  <info>Fly.</info><return type='int' info=''/><arg name='domain' type='virDomainPtr' info=''/></function>"""


def extracted(directory: Path, *changes: tuple[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Extract from the installed description with changes; return its functions and the notes."""
    for name in DESCRIPTIONS:
        text = (API / name).read_text()
        if name == DESCRIPTIONS[0]:
            for before, after in changes:
                assert before in text
                text = text.replace(before, after)
        (directory / name).write_text(text)
    extractor = Extractor(directory)
    return extractor.run()["functions"], extractor.notes


def test_nothing_is_left_to_look_at_for_the_libvirt_that_was_looked_up() -> None:
    extractor = Extractor(API)
    extractor.run()
    newer = extractor.version() != extractor.looked_up_in
    assert newer or extractor.notes == []


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("'virDomainInfoPtr'", "'virMarsPtr'", "a result of the type struct virMars, which is not described"),
        ("'virDomainInfoPtr'", "'mars_t *'", "an output of type 'mars_t *'"),
        (
            "<field name='maxMem' type='unsigned long'",
            "<field name='maxMem' type='mars_t'",
            "a result of the type struct virDomainInfo, whose maxMem is a mars_t",
        ),
    ],
)
def test_a_type_that_is_not_known_leaves_its_function_out_and_is_told(
    tmp_path: Path, before: str, after: str, says: str
) -> None:
    functions, notes = extracted(tmp_path, (before, after))
    assert functions["virDomainGetInfo"]["left_out"] == f"not in this catalogue yet: {says}"
    assert f"virDomainGetInfo is left out: {says}" in notes
    assert "left_out" not in functions["virDomainCreate"]


def test_an_argument_of_an_unknown_type_is_told(tmp_path: Path) -> None:
    argument = "<arg name='memory' type='unsigned long'"
    _, notes = extracted(tmp_path, (argument, argument.replace("unsigned long", "mars_t")))
    assert "virDomainSetMemory is left out: an argument of type 'mars_t'" in notes


def test_a_parameter_of_the_binding_that_is_no_argument_is_told(tmp_path: Path) -> None:
    _, notes = extracted(tmp_path, ("<arg name='memory' type='unsigned long'", "<arg name='mem' type='unsigned long'"))
    told = "virDomainSetMemory is left out: the binding's parameter 'memory' is none of its arguments (domain, mem)"
    assert told in notes


def test_a_function_that_the_binding_does_not_have_is_left_out_and_told(tmp_path: Path) -> None:
    functions, notes = extracted(tmp_path, ("</symbols>", f"{NEW_FUNCTION}</symbols>"))
    assert functions["virDomainFlyToMars"]["left_out"] == "not in this catalogue yet: it is not in libvirt-python"
    assert "virDomainFlyToMars is left out: it is not in libvirt-python" in notes


def test_a_function_that_nobody_has_looked_up_counts_as_a_change_and_is_told() -> None:
    extractor = Extractor(API)
    del extractor.permissions["virDomainGetInfo"]
    row = extractor.run()["functions"]["virDomainGetInfo"]
    assert (row["write"], row["high"]) == (True, False)
    told = "virDomainGetInfo counts as one that changes something: it is not in permissions.json"
    assert told in extractor.notes


def test_the_script_says_what_to_install_where_there_is_no_description(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "libvirt-api.xml" in done.stderr
    assert "install libvirt-dev" in done.stderr

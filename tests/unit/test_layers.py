import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {"handlers", "events", "pollers", "metrics"}
DOORS = {"hypervisor", "bus"}
STORES = {"outbox", "journal", "journal_file", "outgoing"}


def imports(file: Path) -> set[str]:
    """All modules that a file imports, those under TYPE_CHECKING included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part(name: str) -> str:
    """`app.events.kinds` -> `events`."""
    return name.split(".")[1] if name.startswith("app.") else ""


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_rooms_do_not_import_each_other_and_doors_neither() -> None:
    for file in files("app"):
        here = part(".".join(file.relative_to(ROOT).with_suffix("").parts))
        there = {part(name) for name in imports(file)}
        if here in ROOMS:
            assert not there & (ROOMS - {here}), file
        if here in DOORS:
            assert not there & ((ROOMS | DOORS) - {here}), file
        if here in STORES:
            assert not there & (ROOMS | DOORS), file


def test_nothing_of_the_agent_imports_the_doctor() -> None:
    for file in files("app"):
        if file.parent.name != "doctor":
            assert "doctor" not in {part(name) for name in imports(file)}, file


def test_the_words_import_nothing_of_the_agent_but_its_start_and_its_doctor() -> None:
    for file in files("libvirt_amqp"):
        of_app = {name for name in imports(file) if name.startswith("app.")}
        assert not of_app or file.name in {"serve.py", "doctor.py"}, file


def test_aio_pika_is_imported_at_one_place() -> None:
    users = [
        f
        for folder in ("app", "libvirt_amqp")
        for f in files(folder)
        if {"aio_pika"} & {n.split(".")[0] for n in imports(f)}
    ]
    assert users == [ROOT / "libvirt_amqp" / "broker.py"]


def test_nothing_waits_by_a_function_that_loses_cancellations() -> None:
    """On Python 3.11 asyncio.wait_for returns a result that has just come, and its caller goes on."""
    users = [
        f
        for folder in ("app/doctor", "app/handlers", "libvirt_amqp")
        for f in files(folder)
        if "asyncio.wait_for" in f.read_text()
    ]
    assert users == []


def test_there_is_no_cycle_of_imports() -> None:
    graph: dict[str, set[str]] = {}
    for folder in ("app", "libvirt_amqp"):
        for file in files(folder):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            graph[module] = imports(file)
    edges = {
        m: {t for n in names for t in (n, n.rpartition(".")[0]) if t in graph and t != m} for m, names in graph.items()
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for target in edges[module]:
                visit(target, (*path, module))
            done.add(module)

    for module in edges:
        visit(module, ())

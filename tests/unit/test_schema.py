import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import extract_descriptions
import libvirt
import make_api_pages
import orjson
import pytest
from click.testing import CliRunner
from extraction.extractor import dump
from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

from app.handlers import access
from app.handlers.agent import SNAPSHOT, AgentMethods
from libvirt_amqp import catalogue
from libvirt_amqp.cli.schema import command
from libvirt_amqp.events import FIELDS
from libvirt_amqp.schema.calls import openrpc
from libvirt_amqp.schema.channels import asyncapi
from libvirt_amqp.schema.types import components

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "tests" / "data" / "reference"
API = Path("/usr/share/libvirt/api")


def reference(name: str) -> Any:
    return json.loads((REFERENCE / name).read_text())


def methods() -> dict[str, Any]:
    return {method["name"]: method for method in openrpc()["methods"]}


def test_the_openrpc_document_is_valid_by_the_official_meta_schema() -> None:
    tools = DRAFT7.create_resource(reference("json-schema-tools.json"))
    registry: Registry[Any] = Registry().with_resources(
        [("https://meta.json-schema.tools", tools), ("https://meta.json-schema.tools/", tools)]
    )
    schema = reference("openrpc-1.3.json") | {"$schema": "http://json-schema.org/draft-07/schema#"}
    Draft7Validator(schema, registry=registry).validate(openrpc())


def test_the_asyncapi_document_is_valid_by_the_official_schema() -> None:
    Draft7Validator(reference("asyncapi-3.0.0.json")).validate(asyncapi())


@pytest.mark.parametrize("document", [openrpc, asyncapi])
def test_every_schema_is_valid_and_every_reference_leads_somewhere(document: Any) -> None:
    whole = document()
    assert components(whole).keys() <= whole["components"]["schemas"].keys()
    for schema in whole["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)
    for method in whole.get("methods", ()):
        for described in (*method["params"], method["result"]):
            Draft7Validator.check_schema(described["schema"])


def test_the_document_and_the_descriptions_cover_exactly_what_is_served() -> None:
    served = catalogue.load().served()
    described = orjson.loads((ROOT / "libvirt_amqp" / "descriptions.json").read_bytes())
    own = {name for name, method in methods().items() if method["x-class"] == "agent"}
    assert set(methods()) - own == set(served) == set(described["functions"])
    assert set(described["structs"]) == set(catalogue.load().structs)
    assert set(described["enums"]) == set(catalogue.load().enums)
    assert own == {*AgentMethods(dict, lambda _caller, _id: "unknown")._methods, SNAPSHOT}


def test_every_flags_argument_has_an_enum_or_is_known_to_have_no_bits() -> None:
    flags = {name: p["schema"] for name, m in methods().items() for p in m["params"] if p["name"] == "flags"}
    assert len(flags) == 222 + 8  # the latter of streams
    assert [name for name, schema in flags.items() if ("allOf" in schema) == ("x-no-bits" in schema)] == []
    assert sum("x-no-bits" in schema for schema in flags.values()) == 91 + 3


def test_every_flags_argument_names_bits() -> None:
    enums = openrpc()["components"]["schemas"]
    for method in methods().values():
        for param in method["params"]:
            if param["name"] == "flags":
                names = [one["$ref"].rpartition("/")[2] for one in param["schema"].get("allOf", ())]
                assert all(enums[name]["x-bits"] for name in names), method["name"]


def test_names_of_values_are_libvirts() -> None:
    for document in (openrpc(), asyncapi()):
        for schema in document["components"]["schemas"].values():
            for name, value in schema.get("x-names", {}).items():
                assert getattr(libvirt, name, value) == value


def test_the_reviewed_table_speaks_only_of_what_there_is() -> None:
    table = json.loads((ROOT / "scripts" / "enums.json").read_text())
    api = catalogue.load()
    members = {f"{f.name}.{m[0]}" for f in api.served().values() for m in (*f.params, *f.outputs)}
    members |= {f"{name}.{field}" for name, fields in api.structs.items() for field, _ in fields}
    named = {*table["enums"], *table["texts"], *table["reasons"], *table["nullable"], *table["may_be_empty"]}
    named |= {f"{name}.flags" for name in table["flags_without_bits"]}
    assert named - members == set()
    assert {name for names in table["params"].values() for name in names} <= set(api.served())


def test_every_typed_parameter_of_libvirt_belongs_to_a_function_or_an_event() -> None:
    described = orjson.loads((ROOT / "libvirt_amqp" / "descriptions.json").read_bytes())
    with_params = {
        f.name
        for f in catalogue.load().served().values()
        if any(kind.endswith("params") for _, kind, *_ in (*f.params, *f.outputs))
    }
    known = {name for name, told in described["functions"].items() if "params" in told}
    assert with_params - known == {"virDomainGetGuestInfo", "virDomainGetGuestVcpus", "virDomainMemoryStats"}
    assert all(described["params"].values())


def test_an_argument_takes_null_only_if_it_may_be_left_out() -> None:
    for method in methods().values():
        for param in method["params"]:
            schema = param["schema"]
            takes_null = "null" in schema.get("type", ()) or {"type": "null"} in schema.get("anyOf", ())
            assert takes_null != param["required"], (method["name"], param["name"])


def test_integers_have_the_range_of_c() -> None:
    by_name = {p["name"]: p["schema"] for p in methods()["virDomainSetTime"]["params"]}
    assert (by_name["seconds"]["minimum"], by_name["seconds"]["maximum"]) == (-(2**63), 2**63 - 1)
    fields = openrpc()["components"]["schemas"]["virDomainInfo"]["properties"]
    assert (fields["cpuTime"]["minimum"], fields["cpuTime"]["maximum"]) == (0, 2**64 - 1)


def test_permissions_come_with_their_condition_by_name() -> None:
    method = methods()["virDomainGetXMLDesc"]
    secure = {"argument": "flags", "has": ["VIR_DOMAIN_XML_SECURE"]}
    assert {"name": "domain:read_secure", "if": secure} in method["x-permissions"]
    assert secure in method["x-read-only"]["unless"]
    assert secure in method["x-secrets"]["if"]
    for described in methods().values():
        for permission in described.get("x-permissions", ()):
            for verb, values in permission.get("if", {}).items():
                assert verb == "argument" or all(isinstance(value, str) for value in values), described["name"]


def test_access_is_described_as_the_agent_decides_it() -> None:
    strict, secretive = access.Access(full=False, secrets=True), access.Access(full=True, secrets=False)
    for function in catalogue.load().served().values():
        described = methods()[function.name]
        for policy, served in ((strict, described["x-read-only"]), (secretive, not described["x-secrets"])):
            try:
                policy.check(function, {})
                allowed = True
            except access.Denied:
                allowed = False
            assert allowed == bool(served) or isinstance(described["x-secrets"], dict), function.name


def test_every_event_has_a_channel_and_a_message() -> None:
    document = asyncapi()
    for constant in FIELDS:
        assert any(constant in (message["summary"]) for message in document["components"]["messages"].values())
    addresses = [channel["address"] for channel in document["channels"].values()]
    assert "{host}.domain.{uuid}.lifecycle.{change}" in addresses
    assert "{host}.storage-vol.{pool_uuid}.{name}.{method}" in addresses
    assert "any.connect.{method}" in addresses


def test_what_the_agent_returns_is_far_below_its_limit() -> None:
    assert len(orjson.dumps(openrpc())) < 2 * 1024 * 1024


def test_the_descriptions_are_not_read_before_somebody_asks() -> None:
    text = (
        "import app.service, sys; from app.events.kinds import kinds; from libvirt_amqp import catalogue; "
        "from libvirt_amqp.schema import descriptions; kinds(catalogue.load()); "
        "sys.exit(descriptions.load.cache_info().currsize)"
    )
    assert subprocess.run([sys.executable, "-c", text], cwd=ROOT, check=False).returncode == 0


def test_the_descriptions_are_what_their_script_makes() -> None:
    api = json.loads((ROOT / "libvirt_amqp" / "api.json").read_text())
    made = dump(extract_descriptions.Describer(API, api).run())
    assert (ROOT / "libvirt_amqp" / "descriptions.json").read_text() == made


def test_the_api_pages_are_what_their_script_makes() -> None:
    made = make_api_pages.Pages().make()
    assert {file.name: file.read_text() for file in (ROOT / "docs" / "api").glob("*.md")} == made


def test_every_link_between_the_api_pages_leads_to_a_heading() -> None:
    pages = make_api_pages.Pages().make()
    headings = {
        name: {make_api_pages.anchor(line[3:]) for line in text.splitlines() if line.startswith("## ")}
        for name, text in pages.items()
    }
    for name, text in pages.items():
        for file, fragment in re.findall(r"\]\((\w[\w-]*\.md)(?:#([^)]+))?\)", text):
            assert file in pages, name
            assert not fragment or fragment in headings[file], (name, fragment)


def test_the_command_prints_both_documents_and_single_methods() -> None:
    run = CliRunner().invoke
    assert json.loads(run(command, ["openrpc"]).output) == openrpc()
    assert json.loads(run(command, ["asyncapi"]).output) == asyncapi()
    printed = json.loads(run(command, ["openrpc", "virDomainSuspend"]).output)
    assert printed == {**methods()["virDomainSuspend"], "components": {"schemas": {}}}
    assert "handle" in json.loads(run(command, ["openrpc", "virDomainFree"]).output)["x-left-out"]


def test_a_single_method_comes_with_the_names_of_its_flags() -> None:
    printed = json.loads(CliRunner().invoke(command, ["openrpc", "virDomainGetXMLDesc"]).output)
    assert printed["components"]["schemas"]["virDomainXMLFlags"]["x-names"]["VIR_DOMAIN_XML_SECURE"] == 1


@pytest.mark.parametrize("words", [["graphql"], ["openrpc", "virDomainFoo"], ["asyncapi", "x"]])
def test_the_command_refuses_what_it_does_not_know(words: list[str]) -> None:
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 2
    assert words[-1] in done.output

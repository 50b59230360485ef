import re

import pytest

from agentgym.errors import InvalidInput
from agentgym.tools import Tool

REFUND = Tool(
    name="Billing_1.Refund",
    parameters={
        "type": "object",
        "properties": {"payment_id": {"type": "string"}, "amount": {"type": "number", "exclusiveMinimum": 0}},
        "required": ["payment_id"],
        "additionalProperties": False,
    },
)


def test_a_right_call_violates_nothing():
    assert REFUND.violations({"payment_id": "p1", "amount": 3.5}) == []


@pytest.mark.parametrize(
    ("arguments", "violation"),
    [
        ({}, "Billing_1.Refund: 'payment_id' is a required property"),
        ({"payment_id": 1}, "payment_id: 1 is not of type 'string'"),
        ({"payment_id": "p1", "amount": 0}, "amount: 0 is less than or equal to the minimum of 0"),
        ({"payment_id": "p1", "why": ""}, "Billing_1.Refund: Additional properties are not allowed ('why' was unexpected)"),
    ],
)
def test_a_wrong_call_is_told_where_and_why(arguments, violation):
    assert REFUND.violations(arguments) == [violation]


def test_each_violation_is_told():
    assert len(REFUND.violations({"payment_id": 1, "amount": "all"})) == 2


def test_a_dotted_name_belongs_to_the_service_before_the_dot():
    assert (REFUND.service, Tool(name="refund").service) == ("Billing_1", "refund")


def test_a_tool_without_parameters_takes_no_arguments_and_needs_none():
    tool = Tool(name="list_all_airports")
    assert (tool.properties, tool.required, tool.violations({})) == ({}, (), [])


def test_a_tool_survives_the_way_through_openais_form():
    assert Tool.from_openai(REFUND.to_openai()) == REFUND


def test_a_bare_function_object_is_a_declaration_too():
    assert Tool.from_openai({"name": "search_kb", "description": None}) == Tool(name="search_kb")


@pytest.mark.parametrize("reference", ["#/$defs/email", "https://example.com/email.json", "email.json"])
def test_a_declaration_that_refers_to_what_it_does_not_hold_is_refused(reference):
    parameters = {"type": "object", "properties": {"email": {"type": "array", "items": {"$ref": reference}}}}
    with pytest.raises(InvalidInput, match=f"those of 'lookup_user' refer to '{re.escape(reference)}', which is not in them"):
        Tool.from_openai({"name": "lookup_user", "parameters": parameters})


def test_a_declaration_may_refer_to_its_own_definitions_and_name_an_argument_ref():
    parameters = {
        "$defs": {"email": {"type": "string"}},
        "properties": {"email": {"$ref": "#/$defs/email"}, "$ref": {"enum": [{"$ref": "#/absent"}]}},
    }
    tool = Tool.from_openai({"name": "lookup_user", "parameters": parameters})
    assert tool.violations({"email": 1}) == ["email: 1 is not of type 'string'"]


@pytest.mark.parametrize("declaration", [{}, {"type": "function"}, {"function": {"name": 3}}, {"function": "search_kb"}])
def test_a_declaration_without_a_name_is_refused(declaration):
    with pytest.raises(InvalidInput, match=r"needs a function with a name; got .* Use OpenAI's form"):
        Tool.from_openai(declaration)


@pytest.mark.parametrize("parameters", [{"type": "objekt"}, {"properties": ["a"]}, ["a"]])
def test_parameters_that_are_no_json_schema_are_refused(parameters):
    with pytest.raises(InvalidInput, match="must be a JSON Schema; those of 'search_kb' are not"):
        Tool.from_openai({"name": "search_kb", "parameters": parameters})


def test_a_schema_that_refers_to_itself_without_end_accepts_nothing() -> None:
    tool = Tool(name="find", parameters={"$ref": "#"})
    assert tool.violations({"a": 1}) == ["find: its schema refers to itself without end"]

import numpy as np
import pytest

from agentgym.environments.expressions import evaluate, fill, resolve
from agentgym.errors import InvalidInput

PAYMENT = {"amount": 150.0, "status": "succeeded", "days_since_charge": 12}
SCOPE = {"payment": PAYMENT, "rules": {"refund_limit": 200}, "log": None}


def test_a_condition_compares_columns_of_rows_with_rules() -> None:
    assert evaluate("payment.amount <= rules.refund_limit and payment.status == 'succeeded'", SCOPE)
    assert not evaluate("payment.days_since_charge > 30 or payment.status in ['failed', 'refunded']", SCOPE)
    assert evaluate("payment.days_since_charge > 30 or payment.status not in ['failed', 'refunded']", SCOPE)


def test_a_choice_takes_the_side_its_condition_says() -> None:
    assert evaluate("'late' if payment.days_since_charge > 30 else 'early'", SCOPE) == "early"
    assert evaluate("'late' if payment.days_since_charge > 10 else 'early'", SCOPE) == "late"


def test_a_row_the_case_does_not_have_is_neither_less_nor_more() -> None:
    for sign in ("<", "<=", ">", ">="):
        assert not evaluate(f"log.size {sign} 3", SCOPE)
        assert not evaluate(f"3 {sign} log.size", SCOPE)
    assert evaluate("log.size == None", SCOPE)


def test_only_text_that_begins_with_an_equals_sign_is_an_expression() -> None:
    declared = {"amount": "=payment.amount * 2", "note": "payment.amount", "parts": ["=1 + 1", 7]}
    assert resolve(declared, SCOPE) == {"amount": 300.0, "note": "payment.amount", "parts": [2, 7]}


def test_placeholders_are_filled_from_rows() -> None:
    assert fill("Charged {payment.amount}, limit {rules.refund_limit}.", SCOPE) == "Charged 150.0, limit 200."


@pytest.mark.parametrize(
    "source",
    [
        "().__class__",
        "payment.__class__",
        "payment['amount']",
        "__import__('os')",
        "(lambda: 1)()",
        "[row for row in payment]",
        "2 ** 99",
        "open('/etc/passwd')",
        "payment.amount +",
        "'a' + 1",
    ],
)
def test_what_the_language_does_not_have_is_refused(source: str) -> None:
    with pytest.raises(InvalidInput):
        evaluate(source, SCOPE)


def test_an_unknown_name_is_named_beside_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="uses 'refund', there are log, payment, rules"):
        evaluate("refund.amount", SCOPE)


def test_equal_seeds_draw_equal_values() -> None:
    drawn = [resolve({"id": "='PAY-' + digits(6)", "amount": "=money(9, 99)"}, {"rng": np.random.default_rng(seed)}) for seed in (5, 5, 6)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_mistyped_word_differs_from_the_word() -> None:
    rng = np.random.default_rng(0)
    assert all(evaluate("mistype('anna@example.com')", {"rng": rng}) != "anna@example.com" for _ in range(50))

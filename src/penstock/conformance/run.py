"""Running cases: each by itself, so that one that fails tells nothing of the next."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from penstock.conformance import azure, mlflow, oip, sagemaker, tfserving, vertex
from penstock.conformance.case import Case, Failed, Server, Skipped

CONTRACTS: dict[str, list[Case]] = {
    "oip": oip.CASES,
    "tfserving": tfserving.CASES,
    "mlflow": mlflow.CASES,
    "sagemaker": sagemaker.CASES,
    "vertex": vertex.CASES,
    "azure": azure.CASES,
}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one case: `passed`, `failed` or `skipped`, and why."""

    contract: str
    name: str
    clause: str
    verdict: str
    reason: str = ""


def run(contract: str, server: Server, told: Callable[[Outcome], None] = lambda outcome: None) -> list[Outcome]:
    """Ask every case of a contract; `told` hears of each as it ends."""
    found = []
    for case in CONTRACTS[contract]:
        found.append(_outcome(case, server))
        told(found[-1])
    return found


def _outcome(case: Case, server: Server) -> Outcome:
    before = len(server.seen_5xx)
    verdict, reason = "passed", ""
    try:
        case.check(server)
    except Skipped as error:
        verdict, reason = "skipped", str(error)
    except Failed as error:
        verdict, reason = "failed", str(error)
    # Answers of another shape than the contract's are the server's failure, not this program's.
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        verdict, reason = "failed", f"the answer has another shape: {type(error).__name__}: {error}"[:300]
    broke = server.seen_5xx[before:]
    if broke and verdict != "failed":
        verdict, reason = "failed", f"the server broke: {'; '.join(broke)[:300]}"
    return Outcome(contract=case.contract, name=case.name, clause=case.clause, verdict=verdict, reason=reason)

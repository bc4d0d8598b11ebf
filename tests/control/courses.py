"""A rollout under control, with what is seen of it, a node and a clock in a test's hands."""

from penstock.control.records import NodeReport
from penstock.rollout.judgement import Evidence, Judgement


class Seen:
    """What a rollout is told that was seen of it."""

    verdict = "inconclusive"
    enough = True
    mismatch = ""
    weight = None
    asked = 0

    def __call__(self, rollout):
        self.asked += 1
        if rollout.state.counted is None:
            return Evidence()
        found = Judgement(
            verdict=self.verdict, enough=self.enough, mismatch=self.mismatch, summary=f"it is {self.verdict}"
        )
        return Evidence(judgement=found, weight=self.weight)


class Course:
    """One endpoint under rollout, a node that serves whatever it is told, and a clock."""

    def __init__(self, control, clock, seen):
        self.control, self.clock, self.seen = control, clock, seen
        self.number = 1

    def node(self, **said):
        routes = self.control.routes()
        report = {"generation": routes.generation, "digest": routes.digest(), "state": "serving", **said}
        self.control.acknowledge("a", NodeReport(**report))

    def tick(self, seconds=0.0, verdict="inconclusive", **said):
        self.clock.now += seconds
        self.seen.verdict = verdict
        self.node(**said)
        return self.control.rollouts.tick(self.number)

    def until(self, end, verdict, seconds=61, most=20):
        for _ in range(most):
            record = self.tick(seconds, verdict)
            if record.ended:
                assert record.rollout.state.end == end, record
                return record
        raise AssertionError(record)

    @property
    def shares(self):
        return {arm.version: arm.weight for arm in self.control.routes().endpoints["churn"].arms}

    @property
    def whole(self):
        return self.control.verify_audit().whole

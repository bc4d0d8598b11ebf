"""What must hold of control's database whatever was killed when: no operation, generation or release is half there."""

import msgspec
from sqlalchemy import select

from penstock.control.apply import Wish
from penstock.control.replay import verify_audit
from penstock.control.schema import generations, operations, releases, rollout_events, rollouts
from penstock.core.digest import canonical_json, digest_of
from penstock.storage.database import open_database


def check_whole(database_url):
    """Fail where something is half there, or the audit log does not tell it."""
    database = open_database(database_url)
    try:
        audit = verify_audit(database)
        assert audit.whole, audit
        with database.read() as connection:
            known = {row.generation: row for row in connection.execute(select(generations))}
            released = {(row.generation, row.endpoint) for row in connection.execute(select(releases))}
            ended = connection.execute(select(operations)).all()
            known_rollouts = connection.execute(select(rollouts)).all()
            events = {(row.rollout, row.seq) for row in connection.execute(select(rollout_events))}
            rolled = {row.endpoint for row in known_rollouts}
    finally:
        database.close()
    for number in sorted(known)[1:]:
        before, after = (msgspec.json.decode(known[one].endpoints) for one in (number - 1, number))
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        of_release = {name for generation, name in released if generation == number}
        # A step of a rollout changes an endpoint and is no release yet; that the log tells of it, the audit holds.
        assert of_release <= changed and (changed - of_release <= rolled), number
    for name in rolled:
        assert sum(record.standing for record in known_rollouts if record.endpoint == name) <= 1, name
    for record in known_rollouts:
        seqs = [seq for rollout, seq in events if rollout == record.id]
        assert len(set(seqs)) == len(seqs) and max(seqs) <= record.revision, record
        if record.ended:
            assert msgspec.json.decode(record.state)["end"], record
    for row in ended:
        assert row.state in ("done", "failed", "waiting-approval"), row
        if row.state == "done":
            wish = msgspec.json.decode(row.request, type=Wish)
            assert known[row.generation].spec_digest == digest_of(canonical_json(wish.spec))

import sys

from tests.fuzz.supervision import run_cases

# Aborts at case 2, hangs at case 4, tells of a fault at case 5.
_WORKER = """
import json, os, sys, time
for corpus, number in json.loads(sys.argv[3]):
    if number == 2:
        sys.stderr.write("a pointer is lost")
        sys.stderr.flush()
        os.abort()
    if number == 4:
        time.sleep(1000)
    print(json.dumps({"fault": "broken"} if number == 5 else {"outcomes": ["good"]}), flush=True)
"""


def test_what_crashes_or_hangs_is_named(tmp_path):
    """And the cases behind it run in another process."""
    findings = run_cases(
        [[("some", each) for each in range(7)], [("more", 0)]],
        "model",
        tmp_path,
        num_processes=2,
        patience_secs=3.0,
        worker=[sys.executable, "-c", _WORKER],
    )
    assert findings.num_cases == 8
    assert findings.outcomes == {"some: good": 4, "more: good": 1}
    crash, hang, fault = findings.faults
    assert crash == "some 2: hang or crash (exit code -6): a pointer is lost"
    assert hang.startswith("some 4: hang or crash (exit code -9)")
    assert fault == "some 5: broken"

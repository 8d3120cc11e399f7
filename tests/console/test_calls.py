"""A change of which a page does not know whether it was made is made once, however often it is sent."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

CALLS = Path(__file__).parents[2] / "app" / "console" / "static" / "sites" / "calls.js"
SCRIPT = """
globalThis.location = { href: "https://gateway.example/console" };
const keys = [], answers = [null, 503, 200, 200, 422, 200];
globalThis.fetch = async (_, { headers }) => {
  keys.push(headers["Idempotency-Key"]);
  const status = answers.shift();
  if (status === null) throw new TypeError("no network");
  return new Response("{}", { status });
};
const { call } = await import(process.argv[1]);
const body = { tenant: "acme", amount: "5" };
for (const left of answers.slice()) await call("admin/v1/ledger/top-ups", { body }).catch(() => null);
console.log(JSON.stringify(keys));
"""


def test_a_change_without_an_answer_is_sent_again_with_its_key(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js")
    module = tmp_path / "calls.mjs"
    module.write_bytes(CALLS.read_bytes())
    ran = subprocess.run(
        [node, "--input-type=module", "--eval", SCRIPT, str(module)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    lost, failed, made, *others = json.loads(ran.stdout)
    assert lost == failed == made
    assert len({made, *others}) == 1 + len(others), "each later change has a key of its own"

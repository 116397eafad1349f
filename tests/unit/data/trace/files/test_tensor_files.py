"""Files of torch, which its native code opens by itself. Torch is no dependency: without it these tests are skipped."""

from __future__ import annotations

import pytest

from tests.unit.pipelines.bench import Bench, states

pytest.importorskip("torch", reason="what torch reads needs torch")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:TypedStorage")

_FILL = "(HERE / 'd.bin').write_bytes(bytes([K] * 4))"
HEAD = "import torch\nfrom pathlib import Path\nfrom plimsoll import pipeline, step\nHERE = Path(__file__).parent\n"
ENDS = "@pipeline\ndef flow():\n    return look()\n"
SCRIPT = """
class Plus(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer('k', torch.tensor(float(K)))
    def forward(self, x):
        return x + self.k
torch.jit.save(torch.jit.trace(Plus(), torch.ones(1)), str(HERE / 'd.bin'))
"""
#: What reads a file, and what writes the number K into it.
READERS = {
    "tensor": ("torch.load(HERE / 'd.bin').item()", "torch.save(torch.tensor(K), HERE / 'd.bin')"),
    "mapped tensor": ("torch.load(HERE / 'd.bin', mmap=True).item()", "torch.save(torch.tensor(K), HERE / 'd.bin')"),
    "scripted network": ("torch.jit.load(HERE / ('d' + '.bin'))(torch.zeros(1)).item()", SCRIPT),
    "raw numbers": ("torch.from_file(str(HERE / 'd.bin'), size=4, dtype=torch.uint8).tolist()", _FILL),
    "by keywords": ("torch.from_file(filename=str(HERE / 'd.bin'), size=4, dtype=torch.uint8).tolist()", _FILL),
    "storage": ("list(torch.UntypedStorage.from_file(str(HERE / 'd.bin'), False, 4))", _FILL),
    "typed storage": ("list(torch.FloatStorage.from_file(str(HERE / 'd.bin'), False, 1))", _FILL),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_step_is_not_reused_when_a_file_of_torch_has_changed(bench: Bench, name: str) -> None:
    reads, writes = READERS[name]
    bench.write("pipe.py", f"{HEAD}@step\ndef look():\n    return {reads}\n{ENDS}")
    values = []
    for k in (1, 2):
        exec(f"{HEAD.replace('__file__', repr(str(bench.project / 'pipe.py')))}K = {k}\n{writes}", {})
        values.append(bench.run().value)
    assert values[0] != values[1]


@pytest.mark.parametrize("writes", ["torch.save(torch.ones(1), str(HERE / 'o.bin'))", "torch.jit.save(NET, str(HERE / 'o.bin'))"])
def test_a_step_runs_again_when_what_torch_saved_is_gone(bench: Bench, writes: str) -> None:
    net = "NET = torch.jit.trace(torch.nn.ReLU(), torch.ones(1))"
    bench.write("pipe.py", f"{HEAD}@step\ndef look():\n    {net}\n    {writes}\n    return 1\n{ENDS}")
    bench.run()
    assert states(bench.run()) == {"look": "hit"}
    (bench.project / "o.bin").unlink()
    assert states(bench.run()) == {"look": "ran"}
    assert (bench.project / "o.bin").exists()

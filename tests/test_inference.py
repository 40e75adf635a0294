import pytest
import torch
from torch import nn

from src.errors import MnistryError
from src.inference import class_probabilities
from tests.conftest import words_printed


def test_probabilities_that_are_no_numbers_are_refused():
    """Weights of 1e30 are finite; a sum of their products with each other isn't."""
    model = nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 2))
    for parameter in model.parameters():
        parameter.data.fill_(1e30)
    with pytest.raises(
        MnistryError, match="weights are too large to add up; train it again with a lower learning rate"
    ):
        class_probabilities(model, [torch.ones(1, 1)], 1)


@pytest.mark.skipif("sys.platform != 'linux'", reason="reads /proc")
def test_memory_of_inference_does_not_grow_with_the_images():
    """Four times the batches take no more memory for the feature maps, of 10 MB per batch."""
    program = """
import torch
from torch import nn
from src.inference import predict_logits
from src.runtime import keep_freed_memory

def megabytes():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("RssAnon:")]
    return int(line.split()[1]) // 1000

class Scale(nn.Module):
    def forward(self, codes):
        return codes.float().mul_(0.1).add_(0.5)

keep_freed_memory()
model = nn.Sequential(Scale(), nn.Flatten(), nn.Linear(12288, 10))
images = torch.zeros(600, 3, 64, 64, dtype=torch.uint8)
for batches in (10, 40):
    predict_logits(model, (images[torch.randint(600, (200,))] for _ in range(batches)), 200 * batches)
    print(megabytes())
"""
    few, many = map(int, words_printed(program))
    assert many - few < 30

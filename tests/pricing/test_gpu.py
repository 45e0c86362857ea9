"""GPU-hours: the shipped list, the names of cards, overrides for one's own machines."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from costmeter.model import MS_PER_HOUR, Usage
from costmeter.pricing import PriceBook, PriceFileError, load_price_book
from costmeter.pricing.gpu import canonical_gpu
from costmeter.pricing.overrides import embedded_gpu_prices, read_price_file
from pricing.oracle import labels

NOW = int(datetime(2026, 11, 22, 10, tzinfo=UTC).timestamp()) * 1000
HOUR = {"gpu_ms": MS_PER_HOUR}


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return load_price_book()


def nano(
    book: PriceBook,
    cloud: str,
    card: str,
    region: str = "",
    machine: str = "",
    purchase: str = "",
    at_ms: int = NOW,
) -> int | None:
    """What one GPU-hour costs."""
    asked = labels(
        cloud, card, category="gpu_compute", region=region, service=machine, operation=purchase
    )
    rate = book.rate(asked, at_ms, "standard", HOUR)
    return None if rate is None else rate.cost(HOUR)


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A100-PCIE-40GB", "a100-40gb"),
        ("NVIDIA A100 80GB PCIe", "a100-80gb"),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", "a100-80gb"),
        ("A100-80GB", "a100-80gb"),
        ("NVIDIA H100 80GB HBM3", "h100-80gb"),
        ("NVIDIA H100 PCIe", "h100-80gb"),
        ("H100", "h100-80gb"),
        ("NVIDIA H100 NVL", "h100-94gb"),
        ("NVIDIA H200", "h200-141gb"),
        ("NVIDIA A10G", "a10g"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-16GB", "v100-16gb"),
        ("NVIDIA GeForce RTX 4080", "geforce rtx 4080"),
    ],
)
def test_a_card_has_one_name(name: str, card: str) -> None:
    assert canonical_gpu(name) == card
    assert canonical_gpu(card) == card


@pytest.mark.parametrize(
    ("cloud", "card", "region", "machine", "hour"),
    [
        ("aws", "NVIDIA A100-SXM4-40GB", "us-east-1", "p4d.24xlarge", 2_744_705_250),
        ("aws", "NVIDIA A100-SXM4-80GB", "us-east-1", "p4de.24xlarge", 3_430_881_250),
        ("aws", "NVIDIA H100 80GB HBM3", "us-east-1", "p5.48xlarge", 6_880_000_000),
        ("AWS", "NVIDIA A10G", "US-East-1", "g5.xlarge", 1_006_000_000),
        ("gcp", "NVIDIA A100-SXM4-40GB", "us-central1", "a2-highgpu-2g", 3_673_385_000),
        ("gcp", "NVIDIA H200", "us-central1", "a3-ultragpu-8g", 10_436_250_000),
        ("azure", "NVIDIA H100 80GB HBM3", "eastus", "Standard_ND96isr_H100_v5", 12_290_000_000),
        ("nebius", "NVIDIA H100 80GB HBM3", "eu-north1", "", 3_850_000_000),
        ("nebius", "NVIDIA H100 80GB HBM3", "", "anything", 3_850_000_000),
    ],
)
def test_a_listed_machine_has_its_price(
    book: PriceBook, cloud: str, card: str, region: str, machine: str, hour: int
) -> None:
    assert nano(book, cloud, card, region, machine) == hour


def test_without_a_type_the_region_must_agree_on_a_price(book: PriceBook) -> None:
    assert nano(book, "aws", "NVIDIA H100 80GB HBM3", "us-east-1") == 6_880_000_000
    # Two machines with an L4 cost differently: neither is guessed.
    assert nano(book, "aws", "NVIDIA L4", "us-east-1") is None
    assert nano(book, "aws", "NVIDIA L4", "us-east-1", "g6.4xlarge") == 1_323_200_000


def test_what_is_not_listed_is_unpriced(book: PriceBook) -> None:
    card = "NVIDIA H100 80GB HBM3"
    assert nano(book, "aws", card, "eu-west-9") is None
    assert nano(book, "aws", card, "") is None
    assert nano(book, "aws", card, "us-east-1", "p9.huge") is None
    assert nano(book, "aws", "NVIDIA GeForce RTX 4080", "us-east-1") is None
    assert nano(book, "onprem", card) is None
    assert nano(book, "runpod", card) is None
    assert nano(book, "aws", card, "us-east-1", "p5.48xlarge", "reserved") is None


def test_spot_is_a_price_of_its_own(book: PriceBook) -> None:
    card, machine = "NVIDIA H100 80GB HBM3", "a3-highgpu-8g"
    assert nano(book, "gcp", card, "us-central1", machine, "spot") == 6_636_250_000
    assert nano(book, "gcp", card, "us-central1", machine, "on_demand") == 11_061_250_000
    assert nano(book, "gcp", card, "us-central1", machine) == 11_061_250_000
    assert nano(book, "aws", card, "us-east-1", "p5.48xlarge", "spot") is None


def test_a_price_from_before_its_start_is_not_claimed(book: PriceBook) -> None:
    may = int(datetime(2025, 5, 1, tzinfo=UTC).timestamp()) * 1000
    asked = ("aws", "NVIDIA H100 80GB HBM3", "us-east-1", "p5.48xlarge")
    assert nano(book, *asked, at_ms=may) is None
    assert nano(book, *asked) == 6_880_000_000


def test_pieces_of_an_hour_add_up(book: PriceBook) -> None:
    asked = labels("aws", "H100", category="gpu_compute", region="us-east-1")
    rate = book.rate(asked, NOW, "standard", HOUR)
    assert rate is not None
    steps = [rate.cost({"gpu_ms": ms}) or 0 for ms in range(0, MS_PER_HOUR + 1, 7_000)]
    assert steps == sorted(steps)
    assert rate.cost({"gpu_ms": MS_PER_HOUR // 2}) == 3_440_000_000


def test_every_shipped_price_has_a_source_and_a_day() -> None:
    lines = embedded_gpu_prices()
    assert len(lines) >= 15
    for line in lines:
        source, _, as_of = line.source.rpartition(", as of ")
        assert source
        assert datetime.fromisoformat(as_of)
        assert line.figures.keys() == {"gpu_ms"}


def test_the_reader_refuses_a_price_without_a_source() -> None:
    shipped = (
        "prices:\n  - {provider: aws, region: x, model: H100, gpus: 8, "
        "usd_per_hour: {machine: 55.04}, source: list, as_of: 2026-11-09}\n"
    )
    assert len(read_price_file("gpu.yml", shipped, str.lower, dated=True).gpu) == 1
    for missing in ("source: list, ", ", as_of: 2026-11-09"):
        with pytest.raises(PriceFileError, match=r"gpu\.yml:2: prices\[0\]: has no"):
            read_price_file("gpu.yml", shipped.replace(missing, ""), str.lower, dated=True)


def test_overrides_price_ones_own_machines(tmp_path: Path) -> None:
    path = tmp_path / "gpu.yml"
    path.write_text(
        """
prices:
  - {provider: on-prem, model: NVIDIA A100-SXM4-80GB, source: book value, usd_per_hour: {gpu: 1.10}}
  - {provider: onprem, model: T4, source: written off, free: true}
  - {provider: aws, model: H100, region: eu-west-1, source: EDP, usd_per_hour: {gpu: 5}}
  - provider: aws
    model: H100
    source: EDP
    purchase: reserved
    discount_percent: 40
    of: on_demand
  - {provider: aws, model: A10G, instance_type: g5.xlarge, source: EDP, discount_percent: 10}
""",
        encoding="utf-8",
    )
    book = load_price_book([path])
    h100 = "NVIDIA H100 80GB HBM3"
    assert nano(book, "onprem", "NVIDIA A100-SXM4-80GB") == 1_100_000_000
    assert nano(book, "onprem", "Tesla T4", "rack 7", "dell") == 0
    assert nano(book, "aws", h100, "eu-west-1", "p5.48xlarge") == 5_000_000_000
    assert nano(book, "aws", h100, "eu-west-1", "", "spot") is None
    assert nano(book, "aws", h100, "us-east-1", "p5.48xlarge") == 6_880_000_000
    assert nano(book, "aws", h100, "us-east-1", "p5.48xlarge", "reserved") == 4_128_000_000
    assert nano(book, "aws", "A10G", "us-east-1", "g5.xlarge") == 905_400_000


def test_batches_price_gpus_too(book: PriceBook) -> None:
    asked = labels("aws", "H100", category="gpu_compute", region="us-east-1")
    elsewhere = asked._replace(region="moon")
    usages = [Usage(str(n), NOW, "f", one, HOUR) for n, one in enumerate((asked, elsewhere, asked))]
    got = [None if one is None else one[1] for one in book.price_batch(usages)]
    assert got == [6_880_000_000, None, 6_880_000_000]

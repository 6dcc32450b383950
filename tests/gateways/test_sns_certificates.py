"""Certificates of SNS: forged messages, which name what there is not, delay no honest ones."""

from __future__ import annotations

import asyncio
import time

import pytest

from decision.gateways.amazon import Sns, Unreachable
from tests.api import signing

pytestmark = pytest.mark.anyio

GOOD = signing.sns("{}")


class Certificates:
    """What SNS gives; what is not there takes until `go`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = asyncio.Event()

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if url == signing.CERTIFICATE:
            await asyncio.sleep(0)
            return signing.certificate()
        await self.go.wait()
        raise Unreachable("404")


async def is_signed(sns: Sns, message: dict[str, object]) -> bool:
    return await sns.is_signed(message, [signing.TOPIC], time.time())


def forged(number: int) -> dict[str, object]:
    made_up = signing.CERTIFICATE.replace("0123abcd", f"{number:08x}")
    return {**GOOD, "SigningCertURL": made_up, "Signature": "AAAA"}


async def test_a_message_with_a_known_certificate_waits_for_no_other() -> None:
    certificates = Certificates()
    sns = Sns(certificates)
    assert await is_signed(sns, GOOD)
    flood = [asyncio.create_task(is_signed(sns, forged(number))) for number in range(100)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert await is_signed(sns, GOOD)
    assert not any(task.done() for task in flood)
    assert len(certificates.asked) <= 1 + 8
    certificates.go.set()
    assert all(
        isinstance(one, Unreachable) for one in await asyncio.gather(*flood, return_exceptions=True)
    )
    assert len(certificates.asked) == 101


async def test_a_new_certificate_is_fetched_once_beside_a_few_that_are_not_there() -> None:
    certificates = Certificates()
    sns = Sns(certificates)
    flood = [asyncio.create_task(is_signed(sns, forged(number))) for number in range(5)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert all(await asyncio.gather(*(is_signed(sns, GOOD) for _ in range(20))))
    assert certificates.asked.count(signing.CERTIFICATE) == 1
    for task in flood:
        task.cancel()


async def test_a_fetch_that_is_given_up_or_fails_is_made_again_by_the_next() -> None:
    certificates = Certificates()
    sns = Sns(certificates)
    first = asyncio.create_task(is_signed(sns, forged(1)))
    second = asyncio.create_task(is_signed(sns, forged(1)))
    await asyncio.sleep(0)
    first.cancel()
    certificates.go.set()
    with pytest.raises(Unreachable):
        await second
    assert len(certificates.asked) == 2

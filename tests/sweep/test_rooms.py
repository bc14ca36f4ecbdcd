import pytest
from conftest import TEST_UUID, Start

from libvirt_amqp import errors
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address

DOMAIN = Address("h1", "domain", (TEST_UUID,))


@pytest.mark.parametrize("start_cpu", [-2, 2])
async def test_statistics_of_a_cpu_that_does_not_exist_are_refused(
    client: Client, start_agent: Start, start_cpu: int
) -> None:
    await start_agent()
    with pytest.raises(errors.InvalidParams, match="start_cpu"):
        await client.call(DOMAIN, "virDomainGetCPUStats", {"start_cpu": start_cpu, "ncpus": 1})


async def test_statistics_of_cpus_are_those_of_the_range_that_is_asked_for(client: Client, start_agent: Start) -> None:
    await start_agent()
    both, second = [
        await client.call(DOMAIN, "virDomainGetCPUStats", {"start_cpu": start, "ncpus": count})
        for start, count in ((0, 2), (1, 1))
    ]
    assert both[1:] == second

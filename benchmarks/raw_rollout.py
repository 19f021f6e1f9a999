"""The bare script that the product is measured against: no journal, no read-back, no state."""

import argparse
import asyncio

import aiohttp


async def roll_out(base: str, tenants: int, in_flight: int) -> None:
    """Post every tenant's upgrade, `in_flight` at a time."""
    slots = asyncio.Semaphore(in_flight)
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(base, connector=connector) as session:

        async def one(number: int) -> None:
            async with slots:
                body = {"version": "1.1.0", "idempotency_key": str(number)}
                async with session.post(f"/tenants/t{number}/upgrade", json=body) as answer:
                    await answer.read()

        await asyncio.gather(*(one(number) for number in range(tenants)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("--tenants", type=int, default=500)
    parser.add_argument("--in-flight", type=int, default=100)
    options = parser.parse_args()
    asyncio.run(roll_out(options.base, options.tenants, options.in_flight))
